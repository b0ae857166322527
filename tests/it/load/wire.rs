//! A connection whose every byte is the test's: what is sent, how much of an answer is read, and how it ends.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// The head of an answer.
pub(super) struct Head {
    pub(super) status: u16,
    text: String,
}

impl Head {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// How many bytes follow, where it says so.
    pub(super) fn length(&self) -> Option<usize> {
        self.value("content-length")?.parse().ok()
    }
}

/// A connection, and what came on it that nobody has taken yet.
pub(super) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap())
    }

    /// One that takes only some kilobytes before somebody reads.
    pub(super) async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Self::of(socket.connect(address).await.unwrap())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// From now on it takes all that comes.
    pub(super) fn widen(&self) {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, 1 << 20).unwrap();
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Ends it as a machine does that goes down: with a reset.
    pub(super) fn cut(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Takes one more byte; how many were taken since the head.
    pub(super) async fn byte(&mut self) -> usize {
        let byte = self.stream.read_u8().await.unwrap();
        self.read.push(byte);
        self.read.len()
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.read).await.unwrap();
        assert!(
            read > 0,
            "the host closed it after {:?}",
            String::from_utf8_lossy(&self.read)
        );
    }

    fn find(&self, what: &[u8]) -> Option<usize> {
        self.read
            .windows(what.len())
            .position(|window| window == what)
    }

    /// Takes what comes up to and with `end`.
    async fn through(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.find(end) {
                return self.read.drain(..at + end.len()).collect();
            }
            self.more().await;
        }
    }

    async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.read.len() < bytes {
            self.more().await;
        }
        self.read.drain(..bytes).collect()
    }

    pub(super) async fn head(&mut self) -> Head {
        let text = String::from_utf8(self.through(b"\r\n\r\n").await).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        Head { status, text }
    }

    /// What follows a head, to its end.
    pub(super) async fn body(&mut self, head: &Head) -> Vec<u8> {
        if head.value("transfer-encoding") != Some("chunked") {
            return self.exactly(head.length().unwrap_or(0)).await;
        }
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.through(b"\r\n").await).unwrap();
            let bytes = usize::from_str_radix(line.trim_end(), 16).unwrap();
            body.append(&mut self.exactly(bytes).await);
            self.through(b"\r\n").await;
            if bytes == 0 {
                return body;
            }
        }
    }

    /// An answer that is good, to its end.
    pub(super) async fn answer(&mut self) -> (Head, Vec<u8>) {
        let head = self.head().await;
        let body = self.body(&head).await;
        assert!(
            (200..300).contains(&head.status),
            "{}: {}",
            head.text,
            String::from_utf8_lossy(&body)
        );
        (head, body)
    }

    /// Takes what comes of a stream until this word has come.
    pub(super) async fn word(&mut self, word: &str) {
        self.through(word.as_bytes()).await;
    }
}

/// The last message of an answer: within an older session it comes as a stream of events.
pub(super) fn message(body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).unwrap();
    let last = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .rfind(|data| !data.trim().is_empty());
    serde_json::from_str(last.unwrap_or(text)).unwrap_or_else(|error| panic!("{error}: {text}"))
}
