//! How approvals end without a use: by time, by the one who asked, by an operator, with what they rest on.

use tollgate::revocation::{Scope, revoke};

use super::*;
use crate::harness::known;

#[tokio::test]
pub(crate) async fn an_approval_expires_and_a_clock_set_back_revives_nothing() {
    let _row = crate::attacks::stands_for("A04");
    let bench = held_call().start().await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    bench.answer(id, "ada", once()).await.unwrap();
    bench.clock.set(LATE);
    assert_eq!(bench.approval(id).status, Status::Expired);
    bench.clock.set(NOW);
    let late = bench.present("alice", id, post("abc")).await;
    bench.assert_refused(&late, Reason::ApprovalExpired);
    let bench = bench.restart().await;
    let late = bench.present("alice", id, post("abc")).await;
    bench.assert_refused(&late, Reason::ApprovalExpired);
    assert_eq!(bench.ends(id), ["expired"], "written down, once");
    assert_eq!(
        bench.answer(id, "ada", once()).await,
        Err(Reason::ApprovalExpired)
    );
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn a_call_may_wait_for_its_answer_and_one_that_goes_away_asks_no_longer() {
    let bench = held_call()
        .toml("[approvals]\nwait = \"1h\"\nttl = \"2h\"")
        .start()
        .await;
    let mut events = bench.host.approvals().events();
    let waiting = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    bench.answer(ask.id, "ada", once()).await.unwrap();
    let ran = waiting.reply().await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());

    let waiting = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    waiting.cancel.cancel();
    assert_eq!(waiting.reply().await.reason(), Some(Reason::CallCancelled));
    let ended = next_end(&mut events).await;
    assert_eq!((ended.id, ended.status), (ask.id, Status::Withdrawn));

    let waiting = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    bench
        .host
        .approvals()
        .revoke(ask.id, "the operator")
        .await
        .unwrap();
    assert_eq!(
        waiting.reply().await.reason(),
        Some(Reason::RevokedApproval)
    );
    assert_eq!(bench.sent().await, 1);
    bench.verify();
}

/// What an operator, or another call of the task, changes while a person thinks counts as if the call came
/// after it; and the yes is not used up.
#[tokio::test]
async fn what_changes_while_a_person_thinks_counts() {
    let policy = format!(
        "{HELD_CALL}\n{}\n{}",
        "@id(\"echo\") permit (principal, action == Action::\"call:probe.echo\", resource);",
        "@id(\"taint\") forbid (principal, action == Action::\"call:probe.send\", resource)
         when { context has task && context.task.labels.contains(\"private\") };",
    );
    let wait = "[approvals]\nwait = \"1h\"\nttl = \"2h\"\n";
    let echo = "[plugin.probe.tool.echo]\nlabels = [\"private\"]\n";
    let bench = Setup::probe_under(&policy)
        .shared_rules()
        .toml(&format!("{wait}{echo}"))
        .start()
        .await;
    let mut events = bench.host.approvals().events();
    let config = bench.host.home().config();
    let before = std::fs::read_to_string(&config).unwrap();
    let waiting = bench.spawn("alice", "probe_send", post("tier"));
    let ask = next_ask(&mut events).await;
    let forbidden = format!("{before}\n[plugin.probe.tool.send]\ntier = \"forbid\"\n");
    std::fs::write(&config, forbidden).unwrap();
    bench.refresh().await;
    bench.answer(ask.id, "ada", once()).await.unwrap();
    bench.assert_refused(&waiting.reply().await, Reason::PolicyForbidden);
    assert_eq!(bench.approval(ask.id).status, Status::Approved);

    std::fs::write(&config, before).unwrap();
    bench.refresh().await;
    let task = crate::tasks::task("alice", &["probe.*"]);
    bench.host.start_task(task).await.unwrap();
    let waiting = bench.spawn("alice", "probe_send", post("task"));
    let ask = next_ask(&mut events).await;
    let seen = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(seen.reason(), None, "{}", seen.text());
    bench.answer(ask.id, "ada", once()).await.unwrap();
    bench.assert_refused(&waiting.reply().await, Reason::PolicyForbidden);
    assert_eq!(bench.approval(ask.id).status, Status::Approved);
    assert_eq!(bench.used(ask.id), []);
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

/// What people agreed to is not spent on a call that finds no place to run in.
#[tokio::test]
async fn a_call_without_a_place_leaves_its_approval_as_it_is() {
    let free = r#"
@id("bob.sends")
permit (principal == Agent::"spiffe://tollgate.local/agent/bob", action == Action::"call:probe.send", resource);
"#;
    let bench = Setup::probe_under(&format!("{HELD_CALL}{free}"))
        .shared_rules()
        .toml("[concurrency]\nagent = 1\nhost = 1\nwait = \"1ms\"")
        .start()
        .await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    bench.answer(id, "ada", once()).await.unwrap();
    let hold =
        json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hold"});
    let other = bench.spawn("bob", "probe_send", hold);
    bench.upstream.arrived(1).await;
    for _ in 0..2 {
        let full = bench.present("alice", id, post("abc")).await;
        bench.assert_refused(&full, Reason::LimitConcurrency);
        assert_eq!(bench.approval(id).status, Status::Approved);
    }
    bench.upstream.release();
    assert_eq!(*other.reply().await.at("/status"), 200);
    let ran = bench.present("alice", id, post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    assert_eq!(bench.used(id).len(), 1);
    assert_eq!(bench.sent().await, 2, "bob's, and this one");
    bench.verify();
}

#[tokio::test]
pub(crate) async fn a_revocation_at_the_same_time_as_a_yes_wins() {
    let _row = crate::attacks::stands_for("A09");
    let bench = held_call().start().await;
    for number in 0..10 {
        let arguments = post(&number.to_string());
        let id = asked(&bench.call("probe_send", arguments.clone()).await);
        let approvals = bench.host.approvals();
        let (revoked, _answered, ran) = tokio::join!(
            approvals.revoke(id, "the operator"),
            bench.answer(id, "ada", once()),
            bench.call("probe_send", arguments),
        );
        revoked.unwrap();
        assert_ne!(ran.reason(), None, "{}", ran.text());
        assert_eq!(bench.approval(id).status, Status::Revoked);
        // One order in the records: nothing counts after the end.
        let after: Vec<_> = bench
            .records()
            .into_iter()
            .map(|record| record.event)
            .skip_while(
                |event| !matches!(event, Event::ApprovalEnded(ended) if ended.approval == id),
            )
            .skip(1)
            .filter(|event| match event {
                Event::ApprovalAnswered(a) => a.approval == id && a.refused.is_none(),
                Event::ApprovalUsed(used) => used.approval == id,
                _ => false,
            })
            .collect();
        assert_eq!(after, []);
    }
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn what_an_approval_rests_on_takes_it_along() {
    let (folder, home) = held_call().make().await;
    known(&home, &["alice", "bob"]);
    let bench = Bench::start_in(folder, home).await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    let others = asked(
        &bench
            .call_as("bob", "probe_send", post("abc").to_string())
            .await,
    );
    bench.answer(id, "ada", once()).await.unwrap();
    let agent = Scope::Agent(agent("alice"));
    let revoked = revoke(&bench.host, agent, "the operator").await.unwrap();
    assert_eq!(revoked.approvals, [id]);
    assert_eq!(bench.approval(id).status, Status::Revoked);
    assert_eq!(bench.approval(others).status, Status::Pending);

    // One that is used has a call on it, which ends.
    bench.answer(others, "ada", once()).await.unwrap();
    let ran = bench
        .call_as("bob", "probe_send", post("abc").to_string())
        .await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    let held =
        json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hold"});
    let id = asked(&bench.call_as("bob", "probe_send", held.to_string()).await);
    bench.answer(id, "ada", once()).await.unwrap();
    let running = bench.spawn("bob", "probe_send", held);
    bench.upstream.arrived(2).await;
    let revoked = revoke(&bench.host, Scope::Approval(id), "the operator")
        .await
        .unwrap();
    assert_eq!((revoked.calls.len(), revoked.approvals), (1, vec![id]));
    assert_eq!(
        running.reply().await.reason(),
        Some(Reason::RevokedApproval)
    );
    bench.verify();
}

#[tokio::test]
async fn who_thinks_for_longer_than_a_token_is_good_lets_nothing_go() {
    let bench = held_call()
        .toml("[approvals]\nwait = \"1h\"\nttl = \"2h\"")
        .start()
        .await;
    let mut events = bench.host.approvals().events();
    let identities = bench.host.identities();
    let token = identities.issue("alice", Some(Duration::from_secs(600)));
    let who = identities
        .authenticate(token.unwrap().token.expose(), "https://tools.example/mcp")
        .await
        .unwrap();
    let mut arrival = arrival("alice", "probe_send", post("abc").to_string());
    arrival.credential = Some(Arc::new(who));
    let host = Arc::clone(&bench.host);
    let waiting = tokio::spawn(async move { host.call(arrival, CancellationToken::new()).await });
    let ask = next_ask(&mut events).await;
    bench.clock.set(NOW + Duration::from_secs(1_200));
    bench.answer(ask.id, "ada", once()).await.unwrap();
    let reply = waiting.await.unwrap();
    assert_eq!(reply.reason(), Some(Reason::IdentityUnknown));
    assert_eq!(bench.approval(ask.id).status, Status::Approved, "not used");
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}
