//! A way to a server that can be cut, as if the server were down.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way. It ends with the test's runtime.
pub(crate) struct Gate {
    pub(crate) origin: String,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// An open way to the server at `origin`.
    pub(crate) async fn to(origin: &str) -> Self {
        let server = origin.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            is_open: watch::Sender::new(true),
        };
        let is_open = gate.is_open.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, server.clone(), is_open.clone()));
            }
        });
        gate
    }

    /// Whatever is under way breaks off, and nothing comes through from now on.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

async fn pass(mut stream: TcpStream, server: String, mut is_open: watch::Receiver<bool>) {
    if !*is_open.borrow() {
        return;
    }
    let mut there = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut there) => {}
        _ = is_open.wait_for(|is_open| !is_open) => {}
    }
}
