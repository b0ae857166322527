//! Approvals on the whole host: a person answers, and the call that was asked about runs, once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;
use tollgate::approval::{Answer, Approval, ApprovalEvent, Filter, Status, Subject};
use tollgate::call::{Arrival, Reply};
use tollgate::home::Home;
use tollgate::host::Door;
use tollgate::id::ApprovalId;
use tollgate::identity::Approver;
use tollgate::journal::record::{ApprovalAnswered, CallId, Event};
use tollgate::journal::show;
use tollgate::reason::Reason;
use tollgate::revocation::{Scope, revoke};

use crate::harness::{
    Bench, Look as _, NOW, PROBE_POLICY, Setup, agent, arrival, change, known, misfit,
};

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
fn asked(reply: &Reply) -> ApprovalId {
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

    /// The same home as a host finds it that starts after this one was killed now: what is in the
    /// files at this moment, and nothing that a host writes on its way out.
    async fn killed(self) -> Self {
        let folder = tempfile::Builder::new().prefix("tg").tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        drop(self);
        let home = Home::at(folder.path()).unwrap();
        Self::start_in(folder, home).await
    }

    /// The same home, after its host was stopped.
    async fn again(self) -> Self {
        self.host.stop().await;
        let Self { host, folder, .. } = self;
        drop(host);
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
    assert_eq!(bench.host.approvals().list(&Filter::default()).len(), 1);

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
pub(crate) async fn an_approval_expires_and_a_clock_set_back_revives_nothing() {
    let _row = crate::attacks::stands_for("A04");
    let bench = held_call().start().await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    bench.answer(id, "ada", once()).await.unwrap();
    bench.clock.set(NOW + Duration::from_secs(901));
    assert_eq!(bench.approval(id).status, Status::Expired);
    bench.clock.set(NOW);
    let late = bench.present("alice", id, post("abc")).await;
    bench.assert_refused(&late, Reason::ApprovalExpired);
    let bench = bench.again().await;
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
async fn an_approval_survives_a_restart_and_is_used_once_over_it() {
    let bench = held_call().start().await;
    let id = asked(&bench.call("probe_send", post("abc")).await);
    let bench = bench.again().await;
    bench.answer(id, "ada", once()).await.unwrap();
    let bench = bench.again().await;
    let ran = bench.call("probe_send", post("abc")).await;
    assert_eq!(*ran.at("/status"), 200, "{}", ran.text());
    assert_eq!(bench.sent().await, 1);
    let bench = bench.again().await;
    let replay = bench.present("alice", id, post("abc")).await;
    assert_eq!(replay.reason(), Some(Reason::ApprovalUsed));
    assert_eq!(bench.sent().await, 0);
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
    bench.clock.set(NOW + Duration::from_secs(901));
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
    assert_eq!(bench.host.approvals().list(&Filter::default()).len(), 5);
    let asked = bench.records().into_iter();
    let asked = asked.filter(|record| matches!(record.event, Event::ApprovalAsked(_)));
    assert_eq!(asked.count(), 5, "nobody was asked for the others");
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
    assert_eq!(bench.host.approvals().list(&Filter::default()).len(), 1);
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
    bench.clock.set(NOW + Duration::from_secs(301));
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
    assert!(bench.host.approvals().list(&Filter::default()).is_empty());
    assert_eq!(bench.sent().await, 0);
}

#[tokio::test]
pub(crate) async fn a_kill_between_answer_and_use_leaves_one_use_and_never_two() {
    let _row = crate::attacks::stands_for("A11");
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

#[tokio::test]
async fn what_policy_allows_asks_nobody() {
    let bench = Setup::probe_under(PROBE_POLICY)
        .shared_rules()
        .start()
        .await;
    let reply = bench.call("probe_send", post("abc")).await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    assert!(bench.host.approvals().list(&Filter::default()).is_empty());
}
