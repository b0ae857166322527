//! Backups: taken while a host serves, and put back so that nothing of the past is used twice.

use std::path::Path;

use serde_json::json;
use tollgate::approval::{Answer, Status};
use tollgate::backup;
use tollgate::clock::SharedClock;
use tollgate::home::Home;
use tollgate::reason::Reason;
use tollgate::revocation::{Scope, lift};

use crate::harness::binary::{Daemon, Said, run};
use crate::harness::{Bench, Look as _, NOW, Setup, assert_verifies, records};

/// Sending waits for a person, as a call.
const HELD: &str = r#"
@id("calls")
permit (principal in Group::"everyone", action == Action::"call:probe.echo", resource);
@id("send.asks")
permit (principal in Group::"everyone", action == Action::"call:probe.send", resource) when { context.approved };
@id("send.requests")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource);
"#;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Another home with the operator's own files of `home`, and no state.
fn moved(home: &Home, to: &Path) -> Home {
    let other = Home::at(to).unwrap();
    for folder in ["plugins", "policies"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(home.root().join(folder)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
        }
    }
    for file in ["tollgate.toml", "ca.pem"] {
        std::fs::copy(home.root().join(file), to.join(file)).unwrap();
    }
    // Compiled code as well, which is no part of a backup: a test need not compile it again.
    other.create().unwrap();
    for entry in std::fs::read_dir(home.artifacts()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), other.artifacts().join(entry.file_name())).unwrap();
    }
    let key = "artifacts.key";
    std::fs::copy(home.keys().join(key), other.keys().join(key)).unwrap();
    other
}

#[track_caller]
fn good(said: &Said) -> serde_json::Value {
    assert_eq!(said.code, 0, "{said:?}");
    said.lines().pop().unwrap()
}

#[tokio::test]
async fn a_backup_that_was_taken_under_load_serves_elsewhere_once_it_is_let() {
    let setup = Setup::probe().toml("[tools]\ntape = true");
    let (folder, home) = setup.make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let client = daemon.client(&token);
    let calling = tokio::spawn(async move {
        for turn in 0..60 {
            let reply = client
                .call("probe_echo", &json!({"text": turn.to_string()}))
                .await;
            assert_eq!(reply["isError"], false, "{reply}");
        }
    });
    let mut taken = 0;
    while !calling.is_finished() || taken == 0 {
        let to = folder.path().join(format!("backup-{taken}"));
        let said = run(&home, &["--format", "json", "backup", text(&to)]).await;
        assert!(good(&said)["records"].as_u64().unwrap() > 0);
        assert_verifies(&to.join("journal"));
        taken += 1;
    }
    calling.await.unwrap();
    let last = folder.path().join("last");
    let said = run(
        &home,
        &["--format", "json", "backup", "--with-keys", text(&last)],
    )
    .await;
    let line = good(&said);
    assert_eq!(line["keys"], true);
    let call = last_call(&home);
    // A home that is served is not exchanged.
    let said = run(&home, &["restore", "--replace", text(&last)]).await;
    assert_eq!(said.code, 5, "{said:?}");
    daemon.stop().await;

    let elsewhere = tempfile::Builder::new().prefix("tg").tempdir().unwrap();
    let other = moved(&home, elsewhere.path());
    let said = run(&other, &["restore", text(&last)]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("`tollgate revoke --lift`"), "{said:?}");
    let mut daemon = Daemon::start(&other).await;
    let client = daemon.client(&token);
    let reply = client.call("probe_echo", &json!({"text": "x"})).await;
    assert_eq!(
        reply["_meta"]["dev.tollgate/refusal"]["code"], "revoked.all",
        "{reply}"
    );
    let said = run(&other, &["revoke", "--lift"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let reply = client.call("probe_echo", &json!({"text": "x"})).await;
    assert_eq!(reply["isError"], false, "{reply}");
    // A call from before can be looked at and run again: its log and its tape are there.
    let said = run(&other, &["replay", &call]).await;
    assert_eq!(said.code, 0, "{said:?}");
    daemon.stop().await;
    assert_verifies(&other.journal());
    drop(folder);
}

/// The last call of the journal.
fn last_call(home: &Home) -> String {
    let records = records(&home.journal());
    let call = records.iter().rev().find_map(|record| record.event.call());
    call.unwrap().to_string()
}

#[tokio::test]
async fn what_was_used_after_the_backup_is_not_used_again() {
    let bench = Setup::probe_under(HELD).shared_rules().start().await;
    let post =
        json!({"requirement": "api", "method": "POST", "url": "https://granted.example/echo"});
    let reply = bench.call("probe_send", post.clone()).await;
    let id = crate::approvals::asked(&reply);
    let people = bench.host.people();
    let issued = people.add(&"ada".parse().unwrap(), true, None).unwrap();
    let by = people.authenticate(issued.token.expose()).unwrap();
    let answer = Answer::Approve { standing: None };
    bench
        .host
        .approvals()
        .answer(id, &by, answer)
        .await
        .unwrap();

    let to = bench.folder.path().join("backup");
    backup::take(bench.host.home(), &to, true, NOW).unwrap();
    let reply = bench.call("probe_send", post.clone()).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    bench.host.stop().await;
    let home = bench.host.home().clone();
    let clock: SharedClock = bench.clock.clone();
    backup::restore(&home, &to, true, &clock).await.unwrap();

    let sent = bench.upstream.ledger().await.len();
    assert_eq!(sent, 1);
    let Bench { folder, host, .. } = bench;
    drop(host);
    let bench = Bench::start_in(folder, home).await;
    assert_eq!(bench.echo().await, Some(Reason::RevokedAll));
    // Whose credential it was may have been removed since, and the admin API can lift that stop.
    let people = bench.host.people();
    assert!(people.authenticate(issued.token.expose()).is_err());
    assert!(!people.has_admin(), "the operator at the socket renews it");
    lift(&bench.host, Scope::All, "test").await.unwrap();
    assert_eq!(bench.echo().await, None);
    let approval = bench.host.approvals().get(id).unwrap();
    assert_eq!(approval.status, Status::Void);
    let reply = bench.call("probe_send", post).await;
    assert_eq!(reply.reason(), Some(Reason::ApprovalRequired));
    assert!(bench.upstream.ledger().await.is_empty());
}
