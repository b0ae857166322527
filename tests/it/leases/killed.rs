//! What the real program leaves when it is killed (`SIGKILL`) with something lent: its next start takes
//! it back, and the servers say so.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::works::{Works, changes, listed, none_listed, nowhere, stages};
use crate::harness::Setup;
use crate::harness::assert_verifies;
use crate::harness::binary::{Daemon, run, run_as};
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

/// Each death comes while a call is at work with what was lent to it, now and then right after a person
/// agreed and an agent was revoked.
#[tokio::test]
pub(crate) async fn fifty_restarts_under_load_lose_no_lease_approval_or_revocation() {
    let _row = crate::attacks::stands_for("D07");
    let mut works = Works::start("").await;
    let setup = std::mem::replace(&mut works.setup, Setup::empty());
    works.setup = setup
        .shared_rules()
        .toml("[plugin.probe.tool.echo]\ntier = \"hold\"");
    let (_folder, home, mut daemon, token) = works.daemon().await;
    let ada = run(&home, &["person", "add", "ada"]).await;
    assert_eq!(ada.code, 0, "{ada:?}");
    let echo = |number: usize| json!({"text": number.to_string()});
    let (mut approved, mut revoked) = (Vec::new(), Vec::new());
    for number in 0..50 {
        let call = works.begin(&daemon, &token).await;
        if number % 10 == 0 {
            let held = daemon
                .client(&token)
                .call("probe_echo", &echo(number))
                .await;
            let id = held["_meta"]["dev.tollgate/refusal"]["approvalId"]
                .as_str()
                .unwrap()
                .to_owned();
            let gone = format!("gone{number}");
            revoked.push(daemon.agent(&gone).await);
            let said = run_as(&home, ada.out.trim(), &["approvals", "approve", &id]).await;
            assert_eq!(said.code, 0, "{said:?}");
            let said = run(&home, &["revoke", "agent", &gone]).await;
            assert_eq!(said.code, 0, "{said:?}");
            approved.push((id, number));
        }
        daemon.kill().await;
        drop(call.await);
        daemon = Daemon::start(&home).await;
    }
    works.empty().await;
    none_listed(&home).await;
    for token in &revoked {
        let refused = daemon.client(token).request("tools/list", json!({})).await;
        assert_eq!(refused.unwrap().status, 401);
    }
    for (id, number) in &approved {
        let ran = daemon
            .client(&token)
            .call("probe_echo", &echo(*number))
            .await;
        assert_eq!(ran["isError"], false, "{id}: {ran}");
        let again = daemon
            .client(&token)
            .call("probe_echo", &echo(*number))
            .await;
        assert_eq!(again["isError"], true, "{id} was used twice: {again}");
    }
    daemon.stop().await;
    assert_verifies(&home.journal());
    let changes = changes(&home);
    let lent: BTreeSet<_> = changes.iter().map(|change| change.lease).collect();
    assert_eq!(lent.len(), 100, "a token and a credential for each call");
    for lease in lent {
        let of = changes.iter().filter(|change| change.lease == lease);
        let ends = of.filter(|change| change.stage == "revoked").count();
        assert_eq!(ends, 1, "{lease}");
    }
}
