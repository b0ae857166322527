//! Approvals on the whole host: a person answers, and the call that was asked about runs, once.

pub(crate) mod answers;
pub(crate) mod ends;
pub(crate) mod every;
pub(crate) mod killed;
pub(crate) mod requests;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;
use tollgate::approval::{Answer, Approval, ApprovalEvent, Status, Subject};
use tollgate::call::{Arrival, Reply};
use tollgate::host::Door;
use tollgate::id::ApprovalId;
use tollgate::identity::Approver;
use tollgate::journal::record::{ApprovalAnswered, CallId, Event};
use tollgate::journal::show;
use tollgate::reason::Reason;

use crate::harness::{Bench, Look as _, NOW, PROBE_POLICY, Setup, agent, arrival, change, misfit};

/// When nothing that was asked at `NOW` is open any more.
const LATE: Duration = Duration::from_secs(NOW.as_secs() + 3_600);

/// Sending waits for a person, as a call.
const HELD_CALL: &str = r#"
@id("send.asks")
permit (principal in Group::"everyone", action == Action::"call:probe.send", resource) when { context.approved };
@id("send.requests")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource);
"#;

/// Calling is free; each POST waits for a person.
const HELD_REQUEST: &str = r#"
@id("calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"probe");
@id("reads")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource) when { context.method == "GET" };
@id("posts")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource) when { context.approved };
"#;

fn held_call() -> Setup {
    Setup::probe_under(HELD_CALL).shared_rules()
}

fn held_request() -> Setup {
    Setup::probe_under(HELD_REQUEST).shared_rules()
}

fn post(body: &str) -> Value {
    json!({"requirement": "api", "method": "POST", "url": "https://granted.example/echo", "body": body})
}

/// The approval that a reply tells of.
#[track_caller]
pub(crate) fn asked(reply: &Reply) -> ApprovalId {
    assert_eq!(
        reply.reason(),
        Some(Reason::ApprovalRequired),
        "{}",
        reply.text()
    );
    let asked = reply.refusal.as_ref().unwrap().approval.as_ref();
    asked.expect("an approval").id
}

fn once() -> Answer {
    Answer::Approve { standing: None }
}

impl Bench {
    /// The person, by a credential of their own: there is no other way to one.
    fn approver(&self, person: &str) -> Approver {
        let (people, id) = (self.host.people(), person.parse().unwrap());
        let issued = people
            .add(&id, false, None)
            .or_else(|_| people.rotate(&id, None))
            .unwrap();
        people.authenticate(issued.token.expose()).unwrap()
    }

    async fn answer(&self, id: ApprovalId, person: &str, answer: Answer) -> Result<Status, Reason> {
        let by = self.approver(person);
        let answered = self.host.approvals().answer(id, &by, answer).await;
        answered.map(|a| a.status).map_err(|refusal| refusal.reason)
    }

    fn approval(&self, id: ApprovalId) -> Arc<Approval> {
        self.host.approvals().get(id).unwrap()
    }

    async fn present(&self, name: &str, id: ApprovalId, arguments: Value) -> Reply {
        let mut arrival = arrival(name, "probe_send", arguments.to_string());
        arrival.approval = Some(id.to_string());
        self.host.call(arrival, CancellationToken::new()).await
    }

    async fn sent(&self) -> usize {
        self.upstream.ledger().await.len()
    }

    /// The calls that used an approval, as they are written down.
    fn used(&self, id: ApprovalId) -> Vec<CallId> {
        let records = self.records().into_iter();
        records
            .filter_map(|record| match record.event {
                Event::ApprovalUsed(used) if used.approval == id => Some(used.call),
                _ => None,
            })
            .collect()
    }

    /// The answers that were given, refused ones included.
    fn answers(&self, id: ApprovalId) -> Vec<ApprovalAnswered> {
        let records = self.records().into_iter();
        records
            .filter_map(|record| match record.event {
                Event::ApprovalAnswered(answer) if answer.approval == id => Some(answer),
                _ => None,
            })
            .collect()
    }

    /// How an approval ended without a use.
    fn ends(&self, id: ApprovalId) -> Vec<String> {
        let records = self.records().into_iter();
        records
            .filter_map(|record| match record.event {
                Event::ApprovalEnded(ended) if ended.approval == id => Some(ended.status),
                _ => None,
            })
            .collect()
    }
}

/// The next ask.
async fn next_ask(events: &mut Receiver<ApprovalEvent>) -> Arc<Approval> {
    loop {
        if let ApprovalEvent::Asked(approval) = events.recv().await.unwrap() {
            return approval;
        }
    }
}

/// The next end of an approval.
async fn next_end(events: &mut Receiver<ApprovalEvent>) -> Arc<Approval> {
    loop {
        if let ApprovalEvent::Ended(approval) = events.recv().await.unwrap() {
            return approval;
        }
    }
}

#[tokio::test]
async fn what_a_person_agreed_to_runs_once() {
    let bench = held_call().start().await;
    let first = bench.call("probe_send", post("abc")).await;
    let id = asked(&first);
    assert_eq!(bench.sent().await, 0);
    let approval = bench.approval(id);
    assert_eq!(approval.subject, Subject::Call {});
    assert_eq!(approval.summary.effect, "call probe.send");
    assert!(approval.summary.arguments.contains(r#""body":"abc""#));
    assert_eq!(approval.summary.policies[0].id, "send.asks");

    // Asking again, before anyone answered, asks nobody anew.
    assert_eq!(asked(&bench.call("probe_send", post("abc")).await), id);
    assert_eq!(bench.host.approvals().list(None).len(), 1);

    assert_eq!(bench.answer(id, "ada", once()).await, Ok(Status::Approved));
    let ran = bench.call("probe_send", post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    assert_eq!(bench.sent().await, 1);
    let events = bench.records_of(ran.call);
    assert!(
        matches!(events.as_slice(), [Event::ApprovalUsed(used), Event::Intent(_), ..]
            if used.approval == id && used.asked == first.call && used.by[0].as_str() == "ada"),
        "{events:?}"
    );
    let story: Vec<_> = bench
        .records()
        .into_iter()
        .filter(|record| record.event.call() == Some(first.call))
        .collect();
    let story = show::call(&story, show::Look::default());
    assert!(story.contains("ada said yes"), "{story}");

    // Once.
    let again = bench.call("probe_send", post("abc")).await;
    assert_ne!(asked(&again), id);
    assert_eq!(bench.sent().await, 1);
    bench.verify();
}

#[tokio::test]
pub(crate) async fn an_approval_is_worth_nothing_for_anything_else() {
    let _row = crate::attacks::stands_for("A02");
    let _row = crate::attacks::stands_for("A01");
    let bench = held_call().start().await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    bench.answer(id, "ada", once()).await.unwrap();
    let other = bench.present("alice", id, post("abd")).await;
    bench.assert_refused(&other, Reason::ApprovalArguments);
    // Without naming it, other arguments are another ask.
    assert_ne!(asked(&bench.call("probe_send", post("abd")).await), id);
    assert_eq!(bench.sent().await, 0);

    let ran = bench.present("alice", id, post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    let replay = bench.present("alice", id, post("abc")).await;
    bench.assert_refused(&replay, Reason::ApprovalUsed);
    assert_eq!(bench.used(id), [ran.call], "the record of its one use");
    assert_eq!(bench.sent().await, 1);
    bench.verify();
}

/// A component with a section more, which nothing reads: the same plugin by another digest.
fn otherwise(mut component: Vec<u8>) -> Vec<u8> {
    component.extend_from_slice(&[0, 2, 1, b'x']);
    component
}

/// A03. Whoever presents it as another, for other work, or after a change of what it rests on.
#[tokio::test]
pub(crate) async fn an_approval_is_worth_nothing_elsewhere() {
    let _row = crate::attacks::stands_for("A03");
    let policy = "@id(\"act.asks\")\npermit (principal, action == Action::\"call:guest.act\", resource) when { context.approved };";
    let bench = held_call()
        .bytes("guest", misfit("plain"))
        .policy("guest", policy)
        .start()
        .await;
    let approved = async || {
        let id = asked(&bench.call("guest_act", json!({})).await);
        bench.answer(id, "ada", once()).await.unwrap();
        id
    };
    let presented = async |id: ApprovalId, change: fn(&mut Arrival)| {
        let mut arrival = arrival("alice", "guest_act", "{}");
        arrival.approval = Some(id.to_string());
        change(&mut arrival);
        bench.host.call(arrival, CancellationToken::new()).await
    };
    let id = approved().await;
    let elsewhere: [fn(&mut Arrival); 4] = [
        |as_another| as_another.caller.agent = agent("bob"),
        |for_a_person| for_a_person.caller.user = Some("ada".to_owned()),
        |handed_on| handed_on.caller.chain = vec![agent("bob")],
        |of_a_tool| {
            of_a_tool.tool = "probe_send".into();
            of_a_tool.arguments = post("abc").to_string().into_bytes().into();
        },
    ];
    for change in elsewhere {
        let reply = presented(id, change).await;
        bench.assert_refused(&reply, Reason::ApprovalBinding);
    }
    let task = crate::tasks::task("alice", &["guest.*"]);
    let task = bench.host.start_task(task).await.unwrap().id;
    let reply = presented(id, |_| {}).await;
    bench.assert_refused(&reply, Reason::ApprovalBinding);
    bench
        .host
        .end_task(task, tollgate::task::End::Ended, "done")
        .await
        .unwrap();
    let changed = policy.replace(
        "context.approved",
        "context.approved && context.attempt < 100",
    );
    std::fs::write(bench.policy_file("guest"), changed).unwrap();
    bench.refresh().await;
    let reply = presented(id, |_| {}).await;
    bench.assert_refused(&reply, Reason::ApprovalBinding);
    // In its own place it is good, once.
    std::fs::write(bench.policy_file("guest"), policy).unwrap();
    bench.refresh().await;
    let ran = presented(id, |_| {}).await;
    assert_eq!(ran.text(), "acted");
    assert_eq!(bench.used(id), [ran.call]);

    let id = approved().await;
    let about = bench
        .drop_plugin("guest", &otherwise(misfit("plain")))
        .await;
    let waits = change(&about, "plugin.quarantined").digest;
    let name = "guest".parse().unwrap();
    bench.host.accept(&name, None, waits).await.unwrap();
    let reply = presented(id, |_| {}).await;
    bench.assert_refused(&reply, Reason::ApprovalBinding);
    assert_eq!(bench.used(id), []);
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn an_approval_outlives_a_reload_of_something_else_and_no_change_of_what_decided() {
    let bench = held_call().start().await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    bench.answer(id, "ada", once()).await.unwrap();
    let unrelated =
        r#"@id("echo") permit (principal, action == Action::"call:probe.echo", resource);"#;
    std::fs::write(
        bench.policy_file("probe"),
        format!("{unrelated}\n{HELD_CALL}"),
    )
    .unwrap();
    bench.refresh().await;
    let ran = bench.call("probe_send", post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());

    let id = asked(&bench.call("probe_send", post("abc")).await);
    bench.answer(id, "ada", once()).await.unwrap();
    let changed = HELD_CALL.replace(
        "{ context.approved }",
        "{ context.approved && context.attempt < 100 }",
    );
    std::fs::write(bench.policy_file("probe"), changed).unwrap();
    bench.refresh().await;
    assert_ne!(asked(&bench.call("probe_send", post("abc")).await), id);
    let named = bench.present("alice", id, post("abc")).await;
    assert_eq!(named.reason(), Some(Reason::ApprovalBinding));
    assert_eq!(bench.sent().await, 1);
    bench.verify();
}

#[tokio::test]
pub(crate) async fn nobody_but_who_may_approve_answers_and_a_no_is_an_answer() {
    let _row = crate::attacks::stands_for("A05");
    let bench = held_call().start().await;
    let mut own = arrival("alice", "probe_send", post("abc").to_string());
    own.caller.user = Some("ada".to_owned());
    let reply = bench.host.call(own, CancellationToken::new()).await;
    let id = asked(&reply);
    assert_eq!(
        bench.answer(id, "ada", once()).await,
        Err(Reason::ApprovalSelf)
    );
    assert_eq!(
        bench.answer(id, "mallory", once()).await,
        Err(Reason::PolicyDefault)
    );
    let refused: Vec<_> = bench
        .answers(id)
        .into_iter()
        .map(|answer| (answer.by.to_string(), answer.refused))
        .collect();
    assert_eq!(
        refused,
        [
            ("ada".to_owned(), Some(Reason::ApprovalSelf)),
            ("mallory".to_owned(), Some(Reason::PolicyDefault)),
        ]
    );
    // The agent's own token opens no door for people, and that it was tried is written down.
    let token = bench.host.identities().issue("alice", None).unwrap().token;
    let refused = bench.host.person(token.expose(), Door::Admin).unwrap_err();
    assert_eq!(refused.reason, Reason::IdentityKind);
    let tried = bench.changes_since(0);
    let tried = change(&tried, "identity.refused");
    assert_eq!(tried.subject.as_deref(), Some(agent("alice").as_str()));
    assert_eq!(bench.answer(id, "bob", once()).await, Ok(Status::Approved));

    let id = asked(&bench.call("probe_send", post("abc")).await);
    let no = Answer::Deny {
        why: Some("use the other account".to_owned()),
    };
    assert_eq!(bench.answer(id, "ada", no).await, Ok(Status::Denied));
    let reply = bench.call("probe_send", post("abc")).await;
    bench.assert_refused(&reply, Reason::ApprovalDenied);
    assert!(
        reply.text().contains("use the other account"),
        "{}",
        reply.text()
    );
    bench.clock.set(LATE);
    assert_ne!(asked(&bench.call("probe_send", post("abc")).await), id);
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn a_tier_may_want_two_and_goes_the_same_way() {
    let bench = Setup::probe()
        .shared_rules()
        .toml("[plugin.probe.tool.send]\ntier = \"hold\"\napprovals = 2")
        .start()
        .await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    assert_eq!(bench.answer(id, "ada", once()).await, Ok(Status::Pending));
    assert_eq!(bench.answer(id, "ada", once()).await, Ok(Status::Pending));
    assert_eq!(asked(&bench.call("probe_send", post("abc")).await), id);
    assert_eq!(bench.answer(id, "bob", once()).await, Ok(Status::Approved));
    let ran = bench.call("probe_send", post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    bench.verify();
}

#[tokio::test]
pub(crate) async fn asks_are_capped() {
    let _row = crate::attacks::stands_for("A07");
    let bench = held_call()
        .toml("[approvals]\nper_minute = 5")
        .start()
        .await;
    for number in 0..8 {
        let reply = bench.call("probe_send", post(&number.to_string())).await;
        let expected = if number < 5 {
            Reason::ApprovalRequired
        } else {
            Reason::ApprovalRate
        };
        bench.assert_refused(&reply, expected);
    }
    assert_eq!(bench.host.approvals().list(None).len(), 5);
    let asked = bench.records().into_iter();
    let asked = asked.filter(|record| matches!(record.event, Event::ApprovalAsked(_)));
    assert_eq!(asked.count(), 5, "nobody was asked for the others");
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
pub(crate) async fn what_a_person_reads_is_the_hosts_and_whole() {
    let _row = crate::attacks::stands_for("A06");
    let bench = held_call().start().await;
    let evil = format!(
        "x\neffect     GET https://harmless.example\u{1b}[2J\u{202e}\u{200b}{}the tail",
        "a".repeat(50_000)
    );
    let reply = bench.call("probe_send", post(&evil)).await;
    bench.assert_refused(&reply, Reason::ApprovalRequired);
    let text = bench.approval(asked(&reply)).summary.to_string();
    assert!(
        text.starts_with("effect     call probe.send\n"),
        "{text:.200}"
    );
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("effect"))
            .count(),
        1
    );
    assert!(text.contains("the tail"), "nothing is cut");
    let odd = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{202e}' | '\u{200b}'));
    assert!(!text.contains(odd));
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn what_policy_allows_asks_nobody() {
    let bench = Setup::probe_under(PROBE_POLICY)
        .shared_rules()
        .start()
        .await;
    let reply = bench.call("probe_send", post("abc")).await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    assert!(bench.host.approvals().list(None).is_empty());
}
