//! The formats on the disk: what an earlier host wrote is read and gone on with, and what a later one
//! wrote is refused by name, by whatever reads it.
//!
//! `tests/formats/home-1` is the state of a home as the first host left it: an agent, a person, a task, a
//! secret, a taped call. It is never made anew; a format that changes gets a folder beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::identity::AgentId;
use tollgate::journal::record::Event;
use tollgate::journal::verify;
use tollgate::secret::Store;
use tollgate::state::State;

use crate::harness::binary::{Daemon, run};
use crate::harness::{Setup, assert_verifies, records, repository};

fn golden() -> PathBuf {
    repository().join("tests/formats/home-1")
}

/// Copies a folder, for its owner alone.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), &place).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// A home with the state that the first host left.
async fn left() -> (TempDir, Home) {
    // Whatever its age: closed segments stay as they are, so that lines can be compared.
    let setup = Setup::probe().toml("[journal]\ncompress = false");
    let (folder, home) = setup.make().await;
    copy(&golden().join("state"), &home.state());
    let path = home.database();
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let database = rusqlite::Connection::open(&path).unwrap();
    let tables = fs::read_to_string(golden().join("tollgate.sql")).unwrap();
    database.execute_batch(&tables).unwrap();
    (folder, home)
}

fn noted(name: &str) -> String {
    let text = fs::read_to_string(golden().join(name)).unwrap();
    text.trim().to_owned()
}

fn lines(home: &Home) -> Vec<u8> {
    let mut names: Vec<_> = fs::read_dir(home.journal())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    names.sort();
    names
        .into_iter()
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

#[tokio::test]
pub(crate) async fn an_earlier_hosts_files_are_read_and_a_later_ones_are_refused() {
    let _row = crate::attacks::stands_for("D08");
    what_an_earlier_host_left_is_gone_on_with().await;
    what_a_later_host_wrote_is_refused_by_name().await;
}

async fn what_an_earlier_host_left_is_gone_on_with() {
    let (folder, home) = left().await;
    let before = lines(&home);
    let report = verify(&home.journal(), |_| {}).unwrap();
    assert!(report.is_good(), "{:?}", report.first_bad);
    let value = Store::new(&home, Arc::new(SystemEntropy))
        .value(&"probe".parse().unwrap(), "token")
        .unwrap();
    assert_eq!(value.expose(), b"a value of the first host");

    let mut daemon = Daemon::start(&home).await;
    let token = noted("token");
    let reply = daemon
        .client(&token)
        .call("probe_echo", &json!({"text": "x"}))
        .await;
    assert_eq!(reply["isError"], false, "{reply}");
    let people = run(&home, &["--format", "json", "person", "list"]).await;
    assert!(people.out.contains("\"ada\""), "{people:?}");
    let tasks = run(&home, &["--format", "json", "task", "list", "--all"]).await;
    assert!(tasks.out.contains("of the first host"), "{tasks:?}");
    daemon.stop().await;

    // Its lines are as they were, and the new ones follow them.
    assert!(lines(&home).starts_with(&before));
    assert_verifies(&home.journal());
    assert!(records(&home.journal()).len() as u64 > report.records);
    // Its tape opens; the component that ran is of another day.
    let call = noted("call");
    let said = run(&home, &["replay", "--steps", &call]).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.out.contains("clock.now -> "), "{said:?}");
    assert!(said.err.contains("is not here any more"), "{said:?}");
    drop(folder);
}

async fn what_a_later_host_wrote_is_refused_by_name() {
    // The database.
    let (folder, home) = left().await;
    let database = rusqlite::Connection::open(home.database()).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let said = run(&home, &["serve", "--listen", "127.0.0.1:0"]).await;
    assert_ne!(said.code, 0);
    assert!(said.err.contains("has version 99"), "{said:?}");
    drop(folder);

    // The journal.
    let (folder, home) = left().await;
    let name = "00000000000000000001.jsonl";
    let path = home.journal().join(name);
    let text = fs::read_to_string(&path).unwrap();
    let last = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
    let (kept, changed) = text.split_at(last);
    fs::write(
        &path,
        format!("{kept}{}", changed.replacen("\"v\":1", "\"v\":2", 1)),
    )
    .unwrap();
    let report = verify(&home.journal(), |_| {}).unwrap();
    let bad = report.first_bad.expect("refused").to_string();
    assert!(
        bad.contains("version 2 of the format is not known"),
        "{bad}"
    );
    let said = run(&home, &["serve", "--listen", "127.0.0.1:0"]).await;
    assert_ne!(said.code, 0);
    assert!(said.err.contains("version 2 of the format"), "{said:?}");
    let said = run(&home, &["audit", "tail"]).await;
    assert_eq!(said.code, 6, "{said:?}");
    assert_eq!(fs::read(&path).unwrap().len(), text.len(), "nothing is cut");
    drop(folder);

    // Secrets.
    let (folder, home) = left().await;
    let text = fs::read_to_string(home.secrets()).unwrap();
    fs::write(
        home.secrets(),
        text.replace("\"version\": 1", "\"version\": 2"),
    )
    .unwrap();
    let error = Store::new(&home, Arc::new(SystemEntropy))
        .list()
        .unwrap_err();
    assert!(error.to_string().contains("has version 2"), "{error}");
    drop(folder);

    // A tape: the record's digest goes before, so the call is one whose record has that of the changed file.
    let (folder, home) = left().await;
    let call = noted("call");
    let path = home.tapes().join(format!("{call}.tape"));
    let mut tape = fs::read(&path).unwrap();
    let at = tape.iter().position(|byte| *byte == b'1').unwrap();
    tape[at] = b'2';
    fs::write(&path, tape).unwrap();
    let said = run(&home, &["replay", &call]).await;
    assert_eq!(said.code, 6, "{said:?}");
    drop(folder);
}

#[tokio::test]
async fn a_database_of_each_earlier_version_is_brought_up() {
    let (_folder, home) = left().await;
    let tables = |path: &Path| -> Vec<String> {
        let database = rusqlite::Connection::open(path).unwrap();
        let mut found = database
            .prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        found
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let before = tables(&home.database());
    let state = State::open(&home.database()).unwrap();
    let alice = AgentId::local("alice").unwrap();
    assert!(state.agents().iter().any(|agent| agent.id == alice));
    drop(state);
    // What a fresh one has: the steps that led there were not changed since.
    let fresh = home.root().join("fresh.db");
    drop(State::open(&fresh).unwrap());
    let after = tables(&home.database());
    assert_eq!(after, tables(&fresh));
    assert!(before.iter().all(|table| after.contains(table)));
    let intents = records(&home.journal())
        .into_iter()
        .filter(|record| matches!(record.event, Event::Intent(_)));
    assert_eq!(intents.count(), 1);
}
