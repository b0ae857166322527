//! As much of HTTP as a server of a test needs.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request, whole.
pub(super) struct Request {
    head: String,
    pub(super) body: String,
}

impl Request {
    fn word(&self, at: usize) -> &str {
        self.head.split(' ').nth(at).unwrap_or_default()
    }

    pub(super) fn method(&self) -> &str {
        self.word(0)
    }

    pub(super) fn path(&self) -> &str {
        self.word(1)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (given, value) = line.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// The next request of a connection, if one comes.
pub(super) async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut raw = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&raw).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let request = Request {
                head: head.to_owned(),
                body: body.to_owned(),
            };
            let length = request
                .header("content-length")
                .and_then(|n| n.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(request);
            }
        }
        if stream.read_buf(&mut raw).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// Answers, and closes.
pub(super) async fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
