//! Credentials that are lent: they appear at a real server of secrets, and are dead after the call.

pub(crate) mod killed;
mod minted;
mod oauth;
pub(crate) mod works;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tollgate::clock::SystemClock;
use tollgate::reason::Reason;
use tollgate::task::End;

use works::{Ahead, Works, changes, listed, local, none_listed, nowhere, stages, started};

use crate::harness::binary::run;
use crate::harness::{Look as _, arrival, assert_verifies, reason_of, records};
use crate::servers::{until, write_private};

#[tokio::test]
pub(crate) async fn j09_a_lease_appears_upstream_and_is_dead_after_the_call() {
    let _row = crate::attacks::stands_for("J09");
    let works = Works::start("").await;
    let queue = &works.queue;
    let (_folder, home, mut daemon, token) = works.daemon().await;
    let mut arguments = works.arguments();
    arguments["repeat"] = json!(2);
    let reply = daemon.client(&token).call("probe_send", &arguments).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    works.empty().await;
    let worked = queue.worked();
    assert_eq!((worked.len(), queue.refused()), (2, 0));
    assert_eq!(worked[0], worked[1], "one lease for the call");
    assert!(
        worked[0].starts_with("token-"),
        "the engine's own name: {worked:?}"
    );
    until("the queue has confirmed it", || async {
        let revoked = |secret| stages(&home, secret).last().is_some_and(|s| s == "revoked");
        revoked("(bond)") && revoked("token")
    })
    .await;
    assert_eq!(
        stages(&home, "token"),
        ["wanted", "live", "pending", "revoked"]
    );
    let ended = changes(&home);
    let ended = ended
        .iter()
        .find(|c| c.secret == "token" && c.stage == "pending")
        .unwrap();
    assert!(ended.revocable && ended.uses == 2 && ended.expires.is_some());
    assert_eq!(ended.origin, queue.origin());
    assert_eq!(ended.scheme, "basic");
    assert!(listed(&home).await.is_empty());
    for password in queue.passwords() {
        assert!(!reply.to_string().contains(&password) && !daemon.said().contains(&password));
        nowhere(&home, &password);
    }
    daemon.stop().await;
    assert_verifies(&home.journal());
}

#[tokio::test]
pub(crate) async fn j10_what_can_not_be_taken_back_is_pending_visible_retried_and_done() {
    let _row = crate::attacks::stands_for("J10");
    let works = Works::start("[leases]\npending = 1").await;
    let queue = &works.queue;
    let (_folder, home, mut daemon, token) = works.daemon().await;
    queue.down(true);
    let client = daemon.client(&token);
    let reply = client.call("probe_send", &works.arguments()).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    queue.failed(1).await;
    until("it is shown", || async {
        listed(&home).await.iter().any(|lease| {
            lease["stage"] == "pending" && lease["fault"].is_string() && lease["secret"] == "token"
        })
    })
    .await;
    let shown = run(&home, &["leases", "--pending"]).await;
    assert!(
        shown.out.contains("status 4") || shown.out.contains("status 5"),
        "{shown:?}"
    );
    // Too many already: none is lent before.
    let before = queue.passwords().len();
    let reply = client.call("probe_send", &works.arguments()).await;
    assert_eq!(
        reply["structuredContent"]["reason"], "lease.revoke_pending",
        "{reply}"
    );
    assert_eq!(queue.passwords().len(), before);
    assert_eq!(queue.users(), 1);
    queue.down(false);
    queue.empty().await;
    none_listed(&home).await;
    let taken = changes(&home);
    assert!(
        taken
            .iter()
            .any(|c| c.stage == "pending" && c.attempts == 1 && c.detail.is_some())
    );
    assert_eq!(stages(&home, "token").last().unwrap(), "revoked");
    let reply = client.call("probe_send", &works.arguments()).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    daemon.stop().await;
    let refused = records(&home.journal()).into_iter();
    let refused = refused.filter(|r| reason_of(&r.event) == Some(Reason::LeaseBacklog));
    assert_eq!(refused.count(), 1);
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn the_end_of_a_task_takes_its_token_and_all_that_hangs_on_it() {
    let works = Works::start("per = \"task\"").await;
    let queue = &works.queue;
    let (_folder, host) = works.host(Arc::new(SystemClock)).await;
    let task = started(&host).await;
    for _ in 0..2 {
        let arrival = works.arrival(Some(task));
        let reply = host.call(arrival, CancellationToken::new()).await;
        assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    }
    let worked = queue.worked();
    assert_eq!(worked[0], worked[1], "one lease for the task");
    assert_eq!((queue.users(), works.bao.children().await.len()), (1, 1));
    assert!(
        host.leases()
            .list()
            .iter()
            .all(|lease| lease.task == Some(task))
    );
    host.end_task(task, End::Ended, "done").await.unwrap();
    works.empty().await;
    host.stop().await;
    assert!(host.leases().list().is_empty());
}

#[tokio::test]
async fn what_a_task_holds_is_renewed_before_its_time_is_over() {
    let works = Works::start("per = \"task\"").await;
    let queue = &works.queue;
    let clock = Arc::new(Ahead::default());
    let (_folder, host) = works.host(clock.clone()).await;
    let task = started(&host).await;
    let call = || host.call(works.arrival(Some(task)), CancellationToken::new());
    let ends = || {
        let leases = host.leases().list().into_iter();
        leases
            .filter(|lease| lease.secret == "token")
            .map(|lease| (lease.lease, lease.expires.unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(*call().await.at("/status"), 200);
    let before = ends();
    // Of five minutes, as the engine gives them, less than a third is left.
    clock.0.store(240, Ordering::SeqCst);
    assert_eq!(*call().await.at("/status"), 200);
    let after = ends();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_eq!(before[0].0, after[0].0, "the same lease");
    assert!(after[0].1 > before[0].1, "{before:?} {after:?}");
    // Over, as far as this host can tell: the task gets another, and the old one is taken back.
    clock.0.store(2_000, Ordering::SeqCst);
    assert_eq!(*call().await.at("/status"), 200);
    let worked = queue.worked();
    assert_eq!(worked[0], worked[1]);
    host.end_task(task, End::Ended, "done").await.unwrap();
    works.empty().await;
    host.stop().await;
}

#[tokio::test]
pub(crate) async fn j12_a_lease_is_worth_nothing_once_policy_says_no() {
    let _row = crate::attacks::stands_for("J12");
    let works = Works::start("per = \"task\"").await;
    let queue = &works.queue;
    let (_folder, host) = works.host(Arc::new(SystemClock)).await;
    let task = started(&host).await;
    let call = || host.call(works.arrival(Some(task)), CancellationToken::new());
    assert_eq!(*call().await.at("/status"), 200);
    let file = host.home().policies().join("probe.cedar");
    let text = std::fs::read_to_string(&file).unwrap();
    let tighter = format!(
        "{text}\n@id(\"no-more\")\nforbid (principal, action in Action::\"use-secret\", resource in Plugin::\"probe\")\n\
         when {{ context.scheme == \"basic\" }};"
    );
    crate::harness::place(&file, tighter.as_bytes());
    host.refresh().await;
    let reply = call().await;
    assert_eq!(*reply.at("/reason"), "policy.forbidden", "{}", reply.text());
    let refused: Vec<_> = records(&host.home().journal())
        .into_iter()
        .filter(|record| record.event.call() == Some(reply.call))
        .filter_map(|record| reason_of(&record.event))
        .collect();
    assert_eq!(refused, [Reason::PolicyForbidden]);
    // It is still lent to the task, and no use to it.
    assert_eq!(
        (queue.users(), queue.worked().len(), queue.refused()),
        (1, 1, 0)
    );
    host.end_task(task, End::Ended, "done").await.unwrap();
    queue.empty().await;
    host.stop().await;
}

#[tokio::test]
async fn an_operator_takes_one_lease_back_from_a_running_call() {
    let mut works = Works::start("").await;
    // A token file this time, of a token that is not the administrator's.
    let bao = &works.bao;
    let new = json!({"policies": ["tollgate"], "ttl": "1h"});
    let (_, made) = bao.ask("POST", "auth/token/create", Some(&new)).await;
    let file = bao.folder.path().join("token");
    write_private(&file, made["auth"]["client_token"].as_str().unwrap());
    let vault = format!(
        "[vault]\naddress = \"{}\"\ntoken_file = \"{}\"",
        bao.address,
        file.display()
    );
    works.setup = works.worker().toml(&vault);
    let queue = &works.queue;
    let (_folder, host) = works.host(Arc::new(SystemClock)).await;
    queue.hold();
    let running = tokio::spawn({
        let (host, arrival) = (host.clone(), works.arrival(None));
        async move { host.call(arrival, CancellationToken::new()).await }
    });
    queue.at_work(1).await;
    let mut leases = host.leases().list().into_iter();
    let lease = leases.find(|l| l.secret == "token").unwrap();
    assert_eq!(host.leases().revoke(lease.lease).len(), 1);
    queue.empty().await;
    let left = works.bao.children().await;
    assert_eq!(left.len(), 1, "the call still runs");
    running.abort();
    drop(running.await);
    works.empty().await;
    host.stop().await;
}

#[tokio::test]
pub(crate) async fn a_kept_value_is_read_and_typed_as_one_that_stays() {
    let _row = crate::attacks::stands_for("J11");
    let mut works = Works::start("").await;
    let kept =
        "[secret.probe.token]\nsource = \"vault\"\npath = \"secret/data/app\"\nfield = \"key\"";
    let vault = works.bao.table(&works.bao.address).await;
    works.setup = local(&works.queue.origin()).toml(kept).toml(&vault);
    let (_folder, host) = works.host(Arc::new(SystemClock)).await;
    let mut arguments = works.arguments();
    arguments["credentials"][0]["scheme"] = json!("bearer");
    let asked = arrival("alice", "probe_send", arguments.to_string());
    let reply = host.call(asked, CancellationToken::new()).await;
    assert_eq!(*reply.at("/status"), 401, "{}", reply.text());
    assert!(works.bao.children().await.is_empty());
    let home = host.home().clone();
    host.stop().await;
    let changes = changes(&home);
    assert!(
        changes
            .iter()
            .all(|change| !change.revocable && change.source == "vault")
    );
    assert_eq!(stages(&home, "token"), ["wanted", "live", "left"], "J11");
    nowhere(&home, "kept-canary-8d1f");
}
