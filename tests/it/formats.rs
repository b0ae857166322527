//! What an earlier host kept is served on, and what a later one kept is refused and left as it is.
//!
//! `tests/formats/home-1` is a home as the first host wrote it. `TOLLGATE_FORMATS=write` writes it anew, which
//! is right only until that host is released; after that, a change of a format needs a new version, a way
//! from the old one, and a second home beside this one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;
use tollgate::approval::{Answer, Status};
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::id::{ApprovalId, TaskId};
use tollgate::journal::record::{CallId, Event};
use tollgate::journal::verify;
use tollgate::reason::Reason;
use tollgate::revocation::{Scope, revoke};
use tollgate::state::State;

use crate::attacks::stands_for;
use crate::evidence::second;
use crate::harness::binary::run;
use crate::harness::{Bench, Look as _, NOW, Setup, agent, records, repository};
use crate::tasks::task;

/// A day later a segment ends, and is compressed.
const LATER: Duration = Duration::from_secs(NOW.as_secs() + 25 * 3_600);

const POLICY: &str = r#"
@id("calls")
permit (principal in Group::"everyone", action == Action::"call:probe.echo", resource);
@id("send.asks")
permit (principal in Group::"everyone", action == Action::"call:probe.send", resource) when { context.approved };
@id("send.requests")
permit (principal in Group::"everyone", action in Action::"http", resource in Plugin::"probe");
@id("send.secrets")
permit (principal in Group::"everyone", action in Action::"use-secret", resource in Plugin::"probe");
"#;

/// Evidence out of the home's log, as it was handed out.
const RECEIPT: &str = "receipt.json";
const PROOF: &str = "record.tlog-proof";

/// What whoever made the home knows of it.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    alice: String,
    bob: String,
    ada: String,
    task: TaskId,
    asked: ApprovalId,
    approved: ApprovalId,
    used: ApprovalId,
    call: CallId,
}

fn golden() -> PathBuf {
    repository().join("tests/formats/home-1")
}

/// Every file below, by its path from there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => {
                    found.push(entry.path().strip_prefix(folder).unwrap().to_owned());
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// What is kept of a home: nothing that only tells who runs, is made again, or is the operator's own.
fn is_kept(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    file.starts_with("state")
        && !file.starts_with("state/artifacts")
        && !["artifacts.key", "tollgate.log"].contains(&name)
        && !name.ends_with(".lock")
        && !name.ends_with("-wal")
        && !name.ends_with("-shm")
}

fn copy(from: &Path, to: &Path) {
    for file in files(from).into_iter().filter(|file| is_kept(file)) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), &target).unwrap();
    }
}

/// The home of before, as its host left it.
fn before() -> (TempDir, Home, Facts) {
    let folder = tempfile::Builder::new().prefix("tg").tempdir().unwrap();
    let home = Home::at(folder.path()).unwrap();
    home.create().unwrap();
    copy(&golden(), folder.path());
    for file in files(folder.path()) {
        let path = folder.path().join(&file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let within = path.parent().unwrap();
        fs::set_permissions(within, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let facts = fs::read(golden().join("facts.json")).unwrap();
    (folder, home, serde_json::from_slice(&facts).unwrap())
}

fn post() -> serde_json::Value {
    json!({
        "requirement": "api", "method": "POST", "url": "https://granted.example/echo", "body": "abc",
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    })
}

/// A home that was used for a while: something of each kind that is kept.
async fn made() -> (Bench, Facts) {
    let bench = Setup::probe_under(POLICY)
        .shared_rules()
        .secret("probe", "token", "the-value-of-the-token")
        .toml("[tools]\ntape = true\n[approvals]\nttl = \"1h\"")
        .start()
        .await;
    let identities = bench.host.identities();
    let token = |name| {
        identities
            .issue(name, None)
            .unwrap()
            .token
            .expose()
            .to_owned()
    };
    let (alice, bob) = (token("alice"), token("bob"));
    let ada = bench
        .host
        .people()
        .add(&"ada".parse().unwrap(), true, None)
        .unwrap();
    let call = bench
        .call("probe_echo", json!({"text": "before"}))
        .await
        .call;
    bench.assert_refused(
        &bench.call("probe_now", json!({})).await,
        Reason::PolicyDefault,
    );
    bench.clock.set(LATER);
    assert_eq!(bench.echo().await, None);
    while !files(&bench.host.home().journal())
        .iter()
        .any(|file| file.extension().is_some_and(|kind| kind == "gz"))
    {
        tokio::task::yield_now().await;
    }
    let by = bench
        .host
        .people()
        .authenticate(ada.token.expose())
        .unwrap();
    let mut asked = Vec::new();
    for turn in 0..3 {
        let mut arguments = post();
        arguments["body"] = json!(turn.to_string());
        let reply = bench.call("probe_send", arguments.clone()).await;
        let id = crate::approvals::asked(&reply);
        asked.push(id);
        if turn > 0 {
            let yes = Answer::Approve { standing: None };
            bench.host.approvals().answer(id, &by, yes).await.unwrap();
        }
        if turn > 1 {
            let sent = bench.call("probe_send", arguments).await;
            assert_eq!(*sent.at("/status"), 200, "{}", sent.text());
        }
    }
    let task = bench
        .host
        .start_task(task("alice", &["probe.*"]))
        .await
        .unwrap()
        .id;
    assert_eq!(bench.echo().await, None);
    revoke(&bench.host, Scope::Agent(agent("bob")), "the operator")
        .await
        .unwrap();
    bench.host.stop().await;
    let facts = Facts {
        alice,
        bob,
        ada: ada.token.expose().to_owned(),
        task,
        asked: asked[0],
        approved: asked[1],
        used: asked[2],
        call,
    };
    (bench, facts)
}

/// Version and tables of a database, as they stand in the file.
fn schema(database: &Path) -> (u32, Vec<(String, Option<String>)>) {
    let connection = Connection::open(database).unwrap();
    let version = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    let mut tables = connection
        .prepare("SELECT name, sql FROM sqlite_master ORDER BY name")
        .unwrap();
    let tables = tables
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    (version, tables.map(Result::unwrap).collect())
}

/// What is kept, by its kind: numbers and identifiers in names left out.
fn kinds(home: &Path) -> BTreeSet<String> {
    let letters = |c: char| if c.is_ascii_digit() { '0' } else { c };
    files(home)
        .into_iter()
        .filter(|file| is_kept(file))
        .map(|file| match file.starts_with("state/tapes") {
            true => String::from("state/tapes/<call>.tape"),
            false => file.to_str().unwrap().chars().map(letters).collect(),
        })
        .collect()
}

fn record_kinds(home: &Home) -> BTreeSet<&'static str> {
    records(&home.journal())
        .iter()
        .map(|record| record.event.kind())
        .collect()
}

/// A change of a format shows here first.
#[tokio::test]
async fn what_a_host_keeps_is_what_stands_in_the_home_of_before() {
    let (bench, facts) = made().await;
    let home = bench.host.home().clone();
    drop(bench.host);
    if std::env::var("TOLLGATE_FORMATS").is_ok_and(|what| what == "write") {
        let _ = fs::remove_dir_all(golden());
        copy(home.root(), &golden());
        let written = serde_json::to_vec_pretty(&facts).unwrap();
        fs::write(golden().join("facts.json"), written).unwrap();
        for (name, arguments) in [
            (RECEIPT, ["audit", "receipt", &facts.call.to_string()]),
            (PROOF, ["audit", "prove", "3"]),
        ] {
            let said = run(&home, &arguments).await;
            assert_eq!(said.code, 0, "{said:?}");
            fs::write(golden().join(name), said.out).unwrap();
        }
    }
    let (_folder, old, _) = before();
    assert_eq!(schema(&old.database()).0, 8);
    assert_eq!(schema(&home.database()).0, 9);
    // The same, once that is brought up.
    drop(State::open(&old.database()).unwrap());
    assert_eq!(schema(&home.database()), schema(&old.database()));
    assert_eq!(kinds(home.root()), kinds(&golden()));
    assert_eq!(record_kinds(&home), record_kinds(&old));
}

/// What is said of it, and how a home becomes one of later.
type Later = (&'static str, fn(&Home));

#[tokio::test]
pub(crate) async fn a_home_of_before_is_served_on_and_one_of_later_is_left_as_it_is() {
    let _row = stands_for("D08");
    served_on().await;
    let of_later: [Later; 2] = [
        ("database", |home| {
            let connection = Connection::open(home.database()).unwrap();
            connection.pragma_update(None, "user_version", 99).unwrap();
        }),
        ("version 2", |home| {
            let newest = files(&home.journal())
                .into_iter()
                .filter(|file| file.extension().is_some_and(|kind| kind == "jsonl"));
            let path = home.journal().join(newest.max().unwrap());
            let text = fs::read_to_string(&path).unwrap();
            let (head, last) = text.trim_end().rsplit_once('\n').unwrap();
            assert!(last.starts_with("{\"v\":1,"), "{last}");
            fs::write(
                &path,
                format!("{head}\n{}\n", last.replacen("\"v\":1", "\"v\":2", 1)),
            )
            .unwrap();
        }),
    ];
    // The log alone, for whoever only looks at it.
    let (_folder, home, _) = before();
    (of_later[1].1)(&home);
    let said = run(&home, &["audit", "verify"]).await;
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.out.contains("version 2"), "{said:?}");
    for (what, change) in of_later {
        let (_folder, home, _) = before();
        change(&home);
        let kept = |home: &Home| -> Vec<_> {
            let root = home.root();
            let files = files(root).into_iter().filter(|file| is_kept(file));
            files
                .map(|file| (fs::read(root.join(&file)).unwrap(), file))
                .collect()
        };
        let left = kept(&home);
        let said = run(&home, &["serve", "--listen", "127.0.0.1:0"]).await;
        assert_ne!(said.code, 0, "{said:?}");
        assert!(
            said.err.contains(what) && said.err.contains("version"),
            "{said:?}"
        );
        assert!(kept(&home) == left, "{what}: something was written");
    }
}

/// Everything that was kept is there, counts, and is written on in the same form.
async fn served_on() {
    let (folder, home, facts) = before();
    let journal = home.journal();
    let report = verify(&journal, |_| ()).unwrap();
    assert_eq!((report.first_bad, report.torn_tail), (None, 0));
    let log = records(&journal);
    let shape = schema(&home.database());
    let bench = Bench::start_at(folder, home.clone(), LATER).await;
    let host = &bench.host;

    let audience = "https://tools.example/mcp";
    let known = host.identities().authenticate(&facts.alice, audience).await;
    assert_eq!(known.unwrap().agent, agent("alice"));
    assert!(
        host.identities()
            .authenticate(&facts.bob, audience)
            .await
            .is_err()
    );
    let ada = host.people().authenticate(&facts.ada).unwrap();
    assert!(host.people().is_admin(ada.person()));
    let status = |id| host.approvals().get(id).unwrap().status;
    assert_eq!(
        [facts.asked, facts.approved, facts.used].map(status),
        [Status::Pending, Status::Approved, Status::Used]
    );
    let task = host.tasks().get(facts.task).unwrap();
    assert_eq!(task.agent, agent("alice"));
    assert!(task.used.all.calls > 0, "{task:?}");
    let secrets = tollgate::secret::Store::new(&home, Arc::new(SystemEntropy));
    let value = secrets.value(&"probe".parse().unwrap(), "token").unwrap();
    assert_eq!(value.expose(), b"the-value-of-the-token");
    // A call of its own: there is no plugin, and that is written down.
    let unknown = bench.call("probe_echo", json!({"text": "after"})).await;
    bench.assert_refused(&unknown, Reason::NameUnknown);
    let said = run(&home, &["audit", "show", &facts.call.to_string()]).await;
    assert!(said.out.contains("probe"), "{said:?}");
    host.stop().await;

    let after = records(&journal);
    assert_eq!(after[..log.len()], log, "what was written stays as it was");
    assert!(matches!(after.last().unwrap().event, Event::Stopped {}));
    let report = verify(&journal, |_| ()).unwrap();
    assert_eq!((report.first_bad, report.signed), (None, report.records));
    let key = fs::read_to_string(journal.join("log.pub")).unwrap();
    for (kind, name) in [("receipt", RECEIPT), ("proof", PROOF)] {
        let path = golden().join(name);
        let file = path.to_str().unwrap();
        let said = run(&home, &["audit", "check", file, "--pub", key.trim_end()]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(second(&[kind, file, key.trim_end()]));
    }
    // In the same form, for whoever goes back to the host of before.
    assert!(second(&["log", journal.to_str().unwrap()]));
    drop(bench.host);
    // What was there is as it was; what this host has beside it was added.
    let (version, tables) = schema(&home.database());
    assert_eq!((shape.0, version), (8, 9));
    assert!(shape.1.iter().all(|table| tables.contains(table)));
}
