//! The resolver and the connector that are injected. They feed the guard and take nothing from it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tollgate::egress::{BoxedStream, Connector, Resolver, TcpConnector};

use crate::upstream::Upstream;

/// Where every name leads that a test says nothing about. Public, as far as the guard can see.
const PUBLIC: &str = "93.184.216.34";

/// Answers, and remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Names {
    answers: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// What `name` answers, in turn; the last answer for ever.
    pub(crate) fn answer<A: AsRef<[S]>, S: AsRef<str>>(
        &self,
        name: &str,
        answers: impl IntoIterator<Item = A>,
    ) {
        let parsed = answers
            .into_iter()
            .map(|answer| {
                answer
                    .as_ref()
                    .iter()
                    .map(|text| text.as_ref().parse().unwrap())
                    .collect()
            })
            .collect();
        self.answers.lock().unwrap().insert(name.to_owned(), parsed);
    }

    /// Every name that was looked up, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        match answers.get_mut(name) {
            None => Ok(vec![PUBLIC.parse().unwrap()]),
            Some(queue) if queue.len() > 1 => Ok(queue.pop_front().unwrap()),
            Some(queue) => Ok(queue.front().cloned().unwrap_or_default()),
        }
    }
}

/// Leads every address to the fixture, and remembers which ones the guard dialled.
#[derive(Debug)]
pub(crate) struct Detour {
    plain: SocketAddr,
    tls: SocketAddr,
    hangs: AtomicBool,
    dialled: Mutex<Vec<SocketAddr>>,
}

impl Detour {
    pub(crate) fn to(upstream: &Upstream) -> Self {
        Self {
            plain: upstream.plain,
            tls: upstream.tls,
            hangs: AtomicBool::new(false),
            dialled: Mutex::default(),
        }
    }

    /// From now on nothing that is dialled answers; or it does again.
    pub(crate) fn hangs(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Every address that was dialled, in order.
    pub(crate) fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().unwrap().clone()
    }
}

#[async_trait]
impl Connector for Detour {
    async fn dial(&self, address: SocketAddr) -> io::Result<BoxedStream> {
        self.dialled.lock().unwrap().push(address);
        if self.hangs.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let to = if address.port() == 443 {
            self.tls
        } else {
            self.plain
        };
        TcpConnector.dial(to).await
    }
}
