//! One request of a running call, which waits for a person.

use tollgate::revocation::{Scope, revoke};

use super::*;

#[tokio::test]
async fn a_request_that_waits_is_sent_once_a_person_agrees_to_exactly_it() {
    let bench = held_request().start().await;
    let mut events = bench.host.approvals().events();
    let parked = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    assert_eq!(bench.sent().await, 0);
    assert!(bench.resolver.asked().is_empty(), "not even looked up");
    let Subject::HostCall { method, url, .. } = &ask.subject else {
        panic!("a host call: {:?}", ask.subject);
    };
    assert_eq!(
        (method.as_str(), url.as_str()),
        ("POST", "https://granted.example/echo")
    );
    assert_eq!(ask.summary.effect, "POST https://granted.example/echo");
    assert_eq!(ask.summary.body.as_ref().unwrap().text, "abc");
    bench.answer(ask.id, "ada", once()).await.unwrap();
    let reply = parked.reply().await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    assert_eq!(bench.sent().await, 1);
    assert_eq!(bench.approval(ask.id).status, Status::Used);
    let kinds: Vec<_> = bench
        .records_of(reply.call)
        .iter()
        .map(Event::kind)
        .collect();
    assert_eq!(
        kinds,
        [
            "intent",
            "approval-asked",
            "approval-answered",
            "approval-used",
            "host-call",
            "host-call-outcome",
            "outcome"
        ]
    );

    // The next one, though it is the same, is another request.
    let parked = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    let no = Answer::Deny { why: None };
    bench.answer(ask.id, "ada", no).await.unwrap();
    let reply = parked.reply().await;
    assert_eq!(*reply.at("/reason"), "approval.denied", "{}", reply.text());
    assert_eq!(bench.sent().await, 1);
    bench.verify();
}

#[tokio::test]
async fn each_request_of_a_call_is_asked_for_and_a_standing_answer_is_for_that_target_alone() {
    let bench = held_request().start().await;
    let mut events = bench.host.approvals().events();
    let mut thrice = post("abc");
    thrice["repeat"] = json!(3);
    let parked = bench.spawn("alice", "probe_send", thrice.clone());
    let ask = next_ask(&mut events).await;
    let standing = Answer::Approve {
        standing: Some(Duration::from_secs(3_600)),
    };
    bench.answer(ask.id, "ada", standing).await.unwrap();
    let reply = parked.reply().await;
    assert_eq!(
        *reply.at("/reasons"),
        json!(["ok", "ok", "ok"]),
        "{}",
        reply.text()
    );
    let reply = bench.call("probe_send", thrice).await;
    assert_eq!(
        *reply.at("/reasons"),
        json!(["ok", "ok", "ok"]),
        "{}",
        reply.text()
    );
    assert_eq!(bench.approval(ask.id).uses, 6);
    assert_eq!(bench.host.approvals().list(None).len(), 1);
    let parked = bench.spawn("alice", "probe_send", post("abd"));
    let other = next_ask(&mut events).await;
    assert_ne!(other.id, ask.id);
    parked.cancel.cancel();
    assert_eq!(parked.reply().await.reason(), Some(Reason::CallCancelled));
    assert_eq!(next_end(&mut events).await.status, Status::Withdrawn);
    assert_eq!(bench.sent().await, 6);
    bench.verify();
}

#[tokio::test]
async fn what_a_person_agreed_to_is_decided_again_before_it_is_sent() {
    let bench = held_request().start().await;
    let mut events = bench.host.approvals().events();
    let parked = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    let closed = format!(
        "{HELD_REQUEST}\n@id(\"closed\") forbid (principal, action in Action::\"http\", resource);"
    );
    std::fs::write(bench.policy_file("probe"), closed).unwrap();
    bench.refresh().await;
    bench.answer(ask.id, "ada", once()).await.unwrap();
    let reply = parked.reply().await;
    assert_eq!(*reply.at("/reason"), "policy.forbidden", "{}", reply.text());
    assert_eq!(bench.sent().await, 0);
    assert!(bench.resolver.asked().is_empty());
    bench.verify();
}

#[tokio::test]
pub(crate) async fn a_request_waits_only_as_long_as_it_may_and_dies_with_its_host() {
    let _row = crate::attacks::stands_for("A10");
    let bench = held_request().start().await;
    let mut events = bench.host.approvals().events();
    let parked = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    bench.clock.set(LATE);
    let reply = parked.reply().await;
    assert_eq!(*reply.at("/reason"), "approval.expired", "{}", reply.text());
    assert_eq!(next_end(&mut events).await.id, ask.id);
    assert_eq!(bench.ends(ask.id), ["expired"]);
    let kinds: Vec<_> = bench
        .records_of(reply.call)
        .iter()
        .map(Event::kind)
        .collect();
    assert!(
        !kinds.contains(&"host-call"),
        "nothing was to be sent: {kinds:?}"
    );
    assert!(bench.resolver.asked().is_empty(), "not even looked up");

    let parked = bench.spawn("alice", "probe_send", post("abd"));
    let ask = next_ask(&mut events).await;
    parked.task.abort();
    let ended = next_end(&mut events).await;
    assert_eq!((ended.id, ended.status), (ask.id, Status::Withdrawn));

    let parked = bench.spawn("alice", "probe_send", post("abe"));
    let ask = next_ask(&mut events).await;
    let bench = bench.killed().await;
    assert_eq!(bench.approval(ask.id).status, Status::Void);
    assert_eq!(
        bench.answer(ask.id, "ada", once()).await,
        Err(Reason::ApprovalWithdrawn)
    );
    parked.task.abort();
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn without_parking_a_held_request_is_refused_at_once() {
    let bench = held_request()
        .toml("[approvals]\npark = \"0s\"")
        .start()
        .await;
    let reply = bench.call("probe_send", post("abc")).await;
    assert_eq!(reply.reason(), Some(Reason::ApprovalRequired));
    assert!(bench.host.approvals().list(None).is_empty());
    assert_eq!(bench.sent().await, 0);
}

#[tokio::test]
async fn a_call_that_waits_for_a_person_ends_with_its_agent() {
    let bench = held_request().start().await;
    let mut events = bench.host.approvals().events();
    let parked = bench.spawn("alice", "probe_send", post("abc"));
    let ask = next_ask(&mut events).await;
    revoke(&bench.host, Scope::All, "the operator")
        .await
        .unwrap();
    assert_eq!(parked.reply().await.reason(), Some(Reason::RevokedAll));
    assert!(!bench.approval(ask.id).status.is_live());
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}
