//! A plain HTTP client for the admin listener, and a browser that keeps one cookie.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Page {
    /// Its body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends one request; headers that are given replace those of a good one, and an empty one is left out.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Page {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let host = address.to_string();
    let mut request = http::Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", host);
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    drop(sender);
    driver.abort();
    Page {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// A browser, as far as a server can tell.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) const fn at(address: SocketAddr) -> Self {
        Self {
            address,
            cookie: None,
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        let cookie = self.cookie.clone().unwrap_or_default();
        let page = send(self.address, "GET", path, &[("cookie", &cookie)], "").await;
        self.keep(page)
    }

    /// Sends a form, from a page of the same server.
    pub(crate) async fn post(&mut self, path: &str, words: &[(&str, &str)]) -> Page {
        let origin = format!("http://{}", self.address);
        self.post_from(&origin, path, words).await
    }

    /// Sends a form from a page elsewhere.
    pub(crate) async fn post_from(
        &mut self,
        origin: &str,
        path: &str,
        words: &[(&str, &str)],
    ) -> Page {
        let cookie = self.cookie.clone().unwrap_or_default();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(words)
            .finish();
        let headers = [
            ("cookie", cookie.as_str()),
            ("origin", origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let page = send(self.address, "POST", path, &headers, body).await;
        self.keep(page)
    }

    fn keep(&mut self, page: Page) -> Page {
        if let Some(set) = page.headers.get("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        page
    }
}

/// The value of a hidden word of a form.
#[track_caller]
pub(crate) fn hidden(page: &Page, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let (_, rest) = page
        .body
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no `{name}` in {}", page.body));
    rest.split('"').next().unwrap().to_owned()
}
