//! What the real program leaves when it is killed (`SIGKILL`) with something lent: its next start takes
//! it back, and the servers say so.

use std::collections::BTreeSet;

use serde_json::Value;

use super::works::{Works, changes, listed, none_listed, nowhere, stages};
use crate::harness::assert_verifies;
use crate::harness::binary::Daemon;
use crate::servers::{OpenBao, until};

/// What OpenBao made for the one call: its token, and the credential that hangs on it.
struct Made {
    accessor: String,
    lease: String,
}

impl Made {
    async fn at(bao: &OpenBao) -> Self {
        let (mut children, mut leases) = (bao.children().await, bao.leases().await);
        assert_eq!((children.len(), leases.len()), (1, 1));
        Self {
            accessor: children.remove(0),
            lease: leases.remove(0),
        }
    }

    /// Asserts that OpenBao knows both by a look-up, or neither.
    async fn assert_known(&self, bao: &OpenBao, is_known: bool) {
        let found = [
            bao.look_up_token(&self.accessor).await,
            bao.look_up_lease(&self.lease).await,
        ];
        for status in found {
            let said_so = if is_known {
                status == 200
            } else {
                (400..500).contains(&status)
            };
            assert!(said_so, "{status}, known: {is_known}");
        }
    }
}

/// Asserts that each lease ended once, as taken back.
fn assert_revoked_once(home: &tollgate::home::Home) {
    let changes = changes(home);
    let all: BTreeSet<_> = changes.iter().map(|change| change.lease).collect();
    assert_eq!(all.len(), 2, "the token of the call, and what hangs on it");
    for lease in all {
        let of = changes.iter().filter(|change| change.lease == lease);
        let stages: Vec<_> = of.map(|change| change.stage.as_str()).collect();
        let ends = stages.iter().filter(|stage| **stage == "revoked").count();
        assert_eq!(
            (ends, stages.last().copied()),
            (1, Some("revoked")),
            "{stages:?}"
        );
    }
}

#[tokio::test]
async fn what_is_lent_to_a_call_when_the_host_is_killed_is_dead_after_its_next_start() {
    let works = Works::start("").await;
    let (queue, bao) = (&works.queue, &works.bao);
    let (_folder, home, mut daemon, token) = works.daemon().await;
    let call = works.begin(&daemon, &token).await;
    let made = Made::at(bao).await;
    let shown = listed(&home).await;
    let is_live = |lease: &Value| lease["stage"] == "live" && lease["revocable"] == true;
    assert!(shown.len() == 2 && shown.iter().all(is_live), "{shown:?}");
    daemon.kill().await;
    drop(call.await);
    assert_eq!(queue.users(), 1, "the credential outlives the host");
    made.assert_known(bao, true).await;
    for password in queue.passwords() {
        nowhere(&home, &password);
    }
    let mut daemon = Daemon::start(&home).await;
    works.empty().await;
    none_listed(&home).await;
    made.assert_known(bao, false).await;
    assert_eq!(
        stages(&home, "token"),
        ["wanted", "live", "pending", "revoked"]
    );
    assert_revoked_once(&home);
    daemon.stop().await;
    assert_verifies(&home.journal());
}

/// Waits until each of what is lent waits to be taken back, and that failed; which they are.
async fn pending(home: &tollgate::home::Home) -> BTreeSet<String> {
    let failed = |lease: &Value| {
        lease["stage"] == "pending" && lease["fault"].is_string() && lease["attempts"] != 0
    };
    until("taking back has failed", || async {
        let shown = listed(home).await;
        shown.len() == 2 && shown.iter().all(failed)
    })
    .await;
    let shown = listed(home).await.into_iter();
    shown
        .map(|lease| lease["lease"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_waits_to_be_taken_back_when_the_host_is_killed_waits_on_and_is_taken_back_once() {
    let (works, gate) = Works::behind_a_gate().await;
    let (queue, bao) = (&works.queue, &works.bao);
    let (_folder, home, mut daemon, token) = works.daemon().await;
    let call = works.begin(&daemon, &token).await;
    let made = Made::at(bao).await;
    // OpenBao goes away, and then the call ends well.
    gate.cut();
    queue.release();
    let reply = call.await.unwrap().unwrap();
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    let waiting = pending(&home).await;
    daemon.kill().await;
    made.assert_known(bao, true).await;
    // As long as it is away each start finds the same, and is killed with it.
    for _ in 0..2 {
        let mut daemon = Daemon::start(&home).await;
        assert_eq!(pending(&home).await, waiting);
        daemon.kill().await;
        assert_eq!(queue.users(), 1);
        made.assert_known(bao, true).await;
    }
    gate.open();
    let mut daemon = Daemon::start(&home).await;
    works.empty().await;
    none_listed(&home).await;
    made.assert_known(bao, false).await;
    assert_revoked_once(&home);
    // And it lends again.
    let client = daemon.client(&token);
    let reply = client.call("probe_send", &works.arguments()).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    works.empty().await;
    daemon.stop().await;
    assert_verifies(&home.journal());
}
