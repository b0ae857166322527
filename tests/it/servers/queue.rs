//! A queue with users: as much of RabbitMQ's management as OpenBao's engine asks of it, and work for
//! whoever has a user's password.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::wire;

/// The server. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Queue {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Passwords by name.
    users: BTreeMap<String, String>,
    /// Every password that there ever was.
    passwords: Vec<String>,
    /// Users that came to work, with a password that was theirs at the time.
    worked: Vec<String>,
    refused: u32,
    /// Whether taking users away fails.
    is_down: bool,
    failed: u32,
    /// Whoever comes to work waits.
    holds: bool,
}

impl Queue {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let queue = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::default(),
        };
        let shared = queue.shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move { serve(stream, &shared).await });
            }
        });
        queue
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many users there are.
    pub(crate) fn users(&self) -> usize {
        self.shared.state.lock().unwrap().users.len()
    }

    /// Who worked.
    pub(crate) fn worked(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().worked.clone()
    }

    /// How often somebody came whom nobody knows.
    pub(crate) fn refused(&self) -> u32 {
        self.shared.state.lock().unwrap().refused
    }

    /// Every password that there ever was.
    pub(crate) fn passwords(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().passwords.clone()
    }

    /// From now on users can't be taken away, or can again.
    pub(crate) fn down(&self, is_down: bool) {
        self.shared.change(|state| state.is_down = is_down);
    }

    /// Whoever comes to work from now on waits.
    pub(crate) fn hold(&self) {
        self.shared.change(|state| state.holds = true);
    }

    /// Nobody waits any more.
    pub(crate) fn release(&self) {
        self.shared.change(|state| state.holds = false);
    }

    /// Waits until nobody is left.
    pub(crate) async fn empty(&self) {
        self.wait(|state| state.users.is_empty()).await;
    }

    /// Waits until so many came to work.
    pub(crate) async fn at_work(&self, count: usize) {
        self.wait(|state| state.worked.len() >= count).await;
    }

    /// Waits until taking a user away has failed so often.
    pub(crate) async fn failed(&self, count: u32) {
        self.wait(|state| state.failed >= count).await;
    }

    async fn wait(&self, is_so: impl Fn(&State) -> bool) {
        let wait = self.shared.until(is_so);
        tokio::time::timeout(std::time::Duration::from_secs(30), wait)
            .await
            .expect("not within half a minute");
    }
}

impl Shared {
    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = changed.wait_for(|_| is_so(&self.state.lock().unwrap()));
        wait.await.unwrap();
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let given = change(&mut self.state.lock().unwrap());
        self.changed.send_modify(|changes| *changes += 1);
        given
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    let Some(request) = wire::read(&mut stream).await else {
        return;
    };
    let method = request.method();
    let path = request.path();
    let status = match path.strip_prefix("/api/users/") {
        Some(name) if method == "PUT" => {
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            let password = body["password"].as_str().unwrap().to_owned();
            shared.change(|state| {
                state.passwords.push(password.clone());
                state.users.insert(name.to_owned(), password);
            });
            204
        }
        Some(name) if method == "DELETE" => shared.change(|state| {
            if state.is_down {
                state.failed += 1;
                return 503;
            }
            state.users.remove(name);
            204
        }),
        Some(_) => 405,
        None if path.starts_with("/api/") => 204,
        None => {
            let user = known(&request, shared);
            shared.change(|state| match &user {
                Some(user) => state.worked.push(user.clone()),
                None => state.refused += 1,
            });
            let mut rest = [0; 1];
            tokio::select! {
                biased;
                () = shared.until(|state| !state.holds) => {}
                // Gone before it was its turn.
                _ = stream.read(&mut rest) => return,
            }
            if user.is_some() { 200 } else { 401 }
        }
    };
    wire::answer(&mut stream, status, "").await;
}

/// Who comes, by `Basic` credentials that are in force.
fn known(request: &wire::Request, shared: &Shared) -> Option<String> {
    let coded = request.header("authorization")?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(coded).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    let state = shared.state.lock().unwrap();
    (state.users.get(user)? == password).then(|| user.to_owned())
}
