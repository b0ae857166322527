//! A collector that takes OTLP over HTTP: a real server, with a reader of the wire form of its own.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) path: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

/// The collector.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    sent: Arc<Mutex<Vec<Sent>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Collector {
    /// Starts it. It answers with these statuses first, and then takes everything.
    pub(crate) async fn start(answers: impl IntoIterator<Item = u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            sent: Arc::default(),
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
        };
        let all = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = all.clone();
                let service = service_fn(move |request| all.clone().take(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        collector
    }

    async fn take(
        self,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.sent.lock().unwrap().push(Sent {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body,
        });
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        let response = http::Response::builder().status(status);
        Ok(response.body(Full::default()).unwrap())
    }

    /// Everything that it was sent.
    pub(crate) fn all(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// Every span that it was sent.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for sent in self.all().iter().filter(|sent| sent.path == "/v1/traces") {
            for resource in read(&sent.body).messages(1) {
                for scope in resource.messages(2) {
                    spans.extend(scope.messages(2).iter().map(Span::of));
                }
            }
        }
        spans
    }

    /// The last value of every series, by the metric's name and its attributes.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for sent in self.all().iter().filter(|sent| sent.path == "/v1/metrics") {
            for resource in read(&sent.body).messages(1) {
                for scope in resource.messages(2) {
                    for metric in scope.messages(2) {
                        series(&metric, &mut all);
                    }
                }
            }
        }
        all
    }
}

fn series(metric: &Message, all: &mut BTreeMap<String, f64>) {
    let name = metric.text(1);
    for (kind, attributes) in [(5, 7), (7, 7), (9, 9)] {
        for data in metric.messages(kind) {
            for point in data.messages(1) {
                let labels: Vec<_> = attributes_of(&point, attributes)
                    .into_iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                // A histogram by its count.
                let field = if kind == 9 { 4 } else { 6 };
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let value = point.number(field).unwrap_or(0) as f64;
                all.insert(format!("{name}{{{}}}", labels.join(",")), value);
            }
        }
    }
}

/// A span, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) times: (u64, u64),
    pub(crate) attributes: BTreeMap<String, String>,
    /// 2 is an error.
    pub(crate) status: u64,
}

impl Span {
    fn of(message: &Message) -> Self {
        Self {
            trace: hex::encode(message.bytes(1)),
            id: hex::encode(message.bytes(2)),
            state: message.text(3),
            parent: hex::encode(message.bytes(4)),
            name: message.text(5),
            kind: message.number(6).unwrap_or(0),
            times: (message.number(7).unwrap(), message.number(8).unwrap()),
            attributes: attributes_of(message, 9),
            status: message
                .messages(15)
                .first()
                .and_then(|status| status.number(3))
                .unwrap_or(0),
        }
    }

    pub(crate) fn at(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

fn attributes_of(message: &Message, field: u32) -> BTreeMap<String, String> {
    let pairs = message.messages(field);
    let of = |pair: &Message| (pair.text(1), value(&pair.messages(2)[0]));
    pairs.iter().map(of).collect()
}

fn value(value: &Message) -> String {
    if let Some(list) = value.messages(5).first() {
        let items: Vec<_> = list.messages(1).iter().map(self::value).collect();
        return items.join(",");
    }
    match value.number(3) {
        Some(number) => number.to_string(),
        None => value.text(1),
    }
}

/// A message: its fields, by their numbers, as they came.
#[derive(Debug, Clone)]
struct Message(Vec<(u32, Field)>);

#[derive(Debug, Clone)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Message {
    fn messages(&self, field: u32) -> Vec<Self> {
        self.all(field)
            .map(|value| match value {
                Field::Bytes(bytes) => read(bytes),
                Field::Number(_) => panic!("field {field} is a number"),
            })
            .collect()
    }

    fn all(&self, field: u32) -> impl Iterator<Item = &Field> {
        self.0
            .iter()
            .filter(move |(number, _)| *number == field)
            .map(|(_, value)| value)
    }

    fn bytes(&self, field: u32) -> Vec<u8> {
        match self.all(field).next() {
            Some(Field::Bytes(bytes)) => bytes.clone(),
            Some(Field::Number(_)) => panic!("field {field} is a number"),
            None => Vec::new(),
        }
    }

    fn text(&self, field: u32) -> String {
        String::from_utf8(self.bytes(field)).unwrap()
    }

    fn number(&self, field: u32) -> Option<u64> {
        match self.all(field).next() {
            Some(Field::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

/// Reads a message whole; anything that is none fails the test.
fn read(mut bytes: &[u8]) -> Message {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                Field::Bytes(take(&mut bytes, length).to_vec())
            }
            5 => {
                let number = u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap());
                Field::Number(number.into())
            }
            other => panic!("there is no wire type {other}"),
        };
        fields.push((u32::try_from(key >> 3).unwrap(), value));
    }
    Message(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits");
}
