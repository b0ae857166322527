//! Approvals over the end of their host: in order, by a copy of its files, and by `kill -9` of the real
//! program, at each point at which an approval stands still.

use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tollgate::home::Home;

use super::*;
use crate::harness::binary::{Daemon, Said, command, run, run_as};
use crate::harness::mcp::Pipe;
use crate::harness::{assert_verifies, records};
use crate::upstream::Upstream;

impl Bench {
    /// The same home as a host finds it that starts after this one was killed now: what is in the
    /// files at this moment, and nothing that a host writes on its way out.
    pub(super) async fn killed(self) -> Self {
        let folder = tempfile::Builder::new().prefix("tg").tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        drop(self);
        let home = Home::at(folder.path()).unwrap();
        Self::start_in(folder, home).await
    }
}

/// Copies a home, modes included.
fn copy(from: &Path, to: &Path) {
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => {
                std::fs::create_dir(&target).unwrap();
                copy(&entry.path(), &target);
            }
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), &target).unwrap()),
            _ => {}
        }
    }
}

/// The probe may reach the fixture on this machine, under this policy.
fn here(upstream: &Upstream, policy: &str) -> Setup {
    Setup::probe_at(&upstream.origin(), policy).shared_rules()
}

fn request(upstream: &Upstream, method: &str, path: &str) -> Value {
    let url = format!("http://{}{path}", upstream.plain);
    json!({"requirement": "api", "method": method, "url": url})
}

/// A home whose daemon is killed and started again: `alice` calls, `ada` answers.
struct Life {
    daemon: Daemon,
    alice: String,
    ada: String,
    home: Home,
    _folder: TempDir,
}

impl Life {
    async fn begin(setup: Setup) -> Self {
        let (folder, home) = setup.make().await;
        let daemon = Daemon::start(&home).await;
        let alice = daemon.agent("alice").await;
        let ada = run(&home, &["person", "add", "ada"]).await;
        assert_eq!(ada.code, 0, "{ada:?}");
        Self {
            daemon,
            alice,
            ada: ada.out.trim().to_owned(),
            home,
            _folder: folder,
        }
    }

    /// Ends the daemon as a power failure would, and starts another one.
    async fn kill(&mut self) {
        self.daemon.kill().await;
        self.daemon = Daemon::start(&self.home).await;
    }

    async fn call(&self, arguments: &Value) -> Value {
        let client = self.daemon.client(&self.alice);
        client.call("probe_send", arguments).await
    }

    /// A call that goes on by itself; nothing comes back where its daemon ends first.
    fn spawn(&self, token: &str, arguments: &Value) -> tokio::task::JoinHandle<Option<Value>> {
        let (client, arguments) = (self.daemon.client(token), arguments.clone());
        tokio::spawn(async move { client.try_call("probe_send", &arguments).await })
    }

    /// A call that is held; which approval it waits for.
    async fn held(&self, arguments: &Value) -> String {
        let held = self.call(arguments).await;
        let told = &held["_meta"]["dev.tollgate/refusal"];
        assert_eq!(told["code"], "approval_required", "{held}");
        told["approvalId"].as_str().unwrap().to_owned()
    }

    /// The code of a call that names its approval.
    async fn present(&self, id: &str, arguments: &Value) -> Value {
        let mut client = Pipe::start(&self.home, "alice").await;
        let params = json!({
            "name": "probe_send", "arguments": arguments, "_meta": {"dev.tollgate/approval": id},
        });
        let mut answer = client.request("tools/call", params).await;
        assert!(client.rest().await.1.success());
        answer["result"]["_meta"]["dev.tollgate/refusal"]["code"].take()
    }

    async fn approve(&self, id: &str) -> Said {
        run_as(&self.home, &self.ada, &["approvals", "approve", id]).await
    }

    #[track_caller]
    fn status_in(said: &Said) -> String {
        assert_eq!(said.code, 0, "{said:?}");
        said.lines()[0]["status"].as_str().unwrap().to_owned()
    }

    async fn status(&self, id: &str) -> String {
        let show = ["--format", "json", "approvals", "show", id];
        Self::status_in(&run_as(&self.home, &self.ada, &show).await)
    }

    /// What happens to approvals from now on.
    fn watch(&self) -> Watch {
        let mut child = command(&self.home, &["--format", "json", "approvals", "watch"])
            .env("TOLLGATE_PERSON_TOKEN", &self.ada)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watch {
            _child: child,
            lines,
        }
    }

    /// Ends the daemon in order; every event of its journal, which is whole.
    async fn end(mut self) -> Vec<Event> {
        self.daemon.stop().await;
        assert_verifies(&self.home.journal());
        let all = records(&self.home.journal()).into_iter();
        all.map(|record| record.event).collect()
    }
}

struct Watch {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    /// The approval to which the next event of this name happens.
    async fn next(&mut self, name: &str) -> String {
        loop {
            let line = self.lines.next_line().await.unwrap().expect("an event");
            let told: Value = serde_json::from_str(&line).unwrap();
            if told["event"] == name {
                return told["id"].as_str().unwrap().to_owned();
            }
        }
    }
}

/// How often the approval was used.
fn uses(events: &[Event], id: &str) -> usize {
    let used = |event: &&Event| matches!(event, Event::ApprovalUsed(used) if used.approval.to_string() == id);
    events.iter().filter(used).count()
}

fn intents(events: &[Event]) -> usize {
    let intent = |event: &&Event| matches!(event, Event::Intent(_));
    events.iter().filter(intent).count()
}

#[tokio::test]
pub(crate) async fn what_was_asked_and_approved_is_there_after_kill_9_and_runs_once() {
    let _row = crate::attacks::stands_for("A11");
    let upstream = Upstream::start().await;
    let mut life = Life::begin(here(&upstream, HELD_CALL)).await;
    let arguments = request(&upstream, "GET", "/hello");
    let id = life.held(&arguments).await;
    life.kill().await;
    assert_eq!(life.status(&id).await, "pending");
    assert_eq!(life.held(&arguments).await, id, "it is the same ask");
    assert_eq!(life.approve(&id).await.code, 0);
    life.kill().await;
    assert_eq!(life.status(&id).await, "approved");
    assert!(upstream.ledger().await.is_empty(), "nothing runs by itself");
    let ran = life.call(&arguments).await;
    assert_eq!(ran["structuredContent"]["status"], 200, "{ran}");
    life.kill().await;
    assert_eq!(life.status(&id).await, "used");
    assert_eq!(life.present(&id, &arguments).await, "approval.used");
    assert_ne!(life.held(&arguments).await, id);
    assert_eq!(upstream.ledger().await.len(), 1);
    let events = life.end().await;
    assert_eq!((uses(&events, &id), intents(&events)), (1, 1));
}

#[tokio::test]
async fn a_call_that_kill_9_cut_short_never_runs_again() {
    let upstream = Upstream::start().await;
    let mut life = Life::begin(here(&upstream, HELD_CALL)).await;
    let arguments = request(&upstream, "GET", "/hold");
    let id = life.held(&arguments).await;
    assert_eq!(life.approve(&id).await.code, 0);
    let running = life.spawn(&life.alice, &arguments);
    upstream.arrived(1).await;
    life.kill().await;
    assert_eq!(running.await.unwrap(), None, "there was no answer");
    assert_eq!(life.status(&id).await, "used");
    assert_eq!(life.approve(&id).await.code, 2, "nor can it be given again");
    assert_eq!(life.present(&id, &arguments).await, "approval.used");
    assert_ne!(life.held(&arguments).await, id, "it is asked for anew");
    assert_eq!(upstream.ledger().await.len(), 1);
    let events = life.end().await;
    assert_eq!((uses(&events, &id), intents(&events)), (1, 1));
    let call = events.iter().find_map(|event| match event {
        Event::ApprovalUsed(used) => Some(used.call),
        _ => None,
    });
    let unknown = events.iter().any(|event| {
        matches!(event, Event::Recovered(recovered) if recovered.unknown == [call.unwrap()])
    });
    assert!(unknown, "what became of it is not known, and written so");
}

#[tokio::test]
async fn a_request_that_waited_when_its_host_was_killed_is_never_sent() {
    let upstream = Upstream::start().await;
    let mut life = Life::begin(here(&upstream, HELD_REQUEST)).await;
    let arguments = request(&upstream, "POST", "/hello");
    let mut watch = life.watch();
    let parked = life.spawn(&life.alice, &arguments);
    let id = watch.next("asked").await;
    life.kill().await;
    assert_eq!(parked.await.unwrap(), None, "there was no answer");
    assert_eq!(life.status(&id).await, "void");
    assert_eq!(
        life.approve(&id).await.code,
        2,
        "nobody can agree to it now"
    );
    // The same call asks for a request of its own, which is sent once.
    let mut watch = life.watch();
    let parked = life.spawn(&life.alice, &arguments);
    let next = watch.next("asked").await;
    assert_ne!(next, id);
    assert!(upstream.ledger().await.is_empty());
    assert_eq!(life.approve(&next).await.code, 0);
    let sent = parked.await.unwrap().unwrap();
    assert_eq!(sent["structuredContent"]["status"], 200, "{sent}");
    assert_eq!(upstream.ledger().await.len(), 1);
    let events = life.end().await;
    assert_eq!((uses(&events, &id), uses(&events, &next)), (0, 1));
}

#[tokio::test]
async fn an_approval_survives_a_restart_and_is_used_once_over_it() {
    let bench = held_call().start().await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    let bench = bench.restart().await;
    bench.answer(id, "ada", once()).await.unwrap();
    let bench = bench.restart().await;
    let ran = bench.call("probe_send", post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    assert_eq!(bench.sent().await, 1);
    let bench = bench.restart().await;
    let replay = bench.present("alice", id, post("abc")).await;
    assert_eq!(replay.reason(), Some(Reason::ApprovalUsed));
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn a_kill_between_answer_and_use_leaves_one_use_and_never_two() {
    let bench = held_call().start().await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    let bench = bench.killed().await;
    assert_eq!(bench.approval(id).status, Status::Pending);
    bench.answer(id, "ada", once()).await.unwrap();
    let bench = bench.killed().await;
    let ran = bench.call("probe_send", post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    assert_eq!(bench.sent().await, 1);
    let bench = bench.killed().await;
    let replay = bench.present("alice", id, post("abc")).await;
    bench.assert_refused(&replay, Reason::ApprovalUsed);
    assert_eq!(bench.used(id), [ran.call], "one use, over three hosts");
    assert_ne!(asked(&bench.call("probe_send", post("abc")).await), id);
    assert_eq!(bench.sent().await, 0);

    // Killed while the call that uses it runs: it is used, whatever became of the call.
    let held =
        json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hold"});
    let id = asked(&bench.call("probe_send", held.clone()).await);
    bench.answer(id, "ada", once()).await.unwrap();
    let running = bench.spawn("alice", "probe_send", held.clone());
    bench.upstream.arrived(1).await;
    let bench = bench.killed().await;
    assert_eq!(bench.approval(id).status, Status::Used);
    assert_ne!(asked(&bench.call("probe_send", held).await), id);
    running.task.abort();
    bench.verify();
}
