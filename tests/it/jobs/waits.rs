//! What jobs wait for: their clients' answers, and people.

use serde_json::{Value, json};
use tollgate::approval::{Answer, Approval, Status};
use tollgate::id::ApprovalId;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;
use tollgate::revocation::{Scope, lift, revoke};
use tollgate::task::End;

use super::{Asks, Desk, JOBS, request, words};
use crate::harness::binary::{Daemon, run, run_as};
use crate::harness::{PROBE_POLICY, Setup, agent, intents, reason_of, records};
use crate::tasks::task;
use crate::upstream::Upstream;

/// Sending waits for a person.
const HELD: &str = r#"
@id("send.asks")
permit (principal in Group::"everyone", action == Action::"call:probe.send", resource) when { context.approved };
@id("send.requests")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource);
"#;

fn accept(content: Value) -> Value {
    json!({"action": "accept", "content": content})
}

#[tokio::test]
async fn a_job_asks_its_client_and_goes_on_with_the_answers() {
    let desk = Desk::start(PROBE_POLICY, "").await;
    let id = desk
        .alice
        .begin("confirm_delete", json!({"filename": "a.txt"}))
        .await;
    let asked = desk.alice.until(&id, &["input_required"]).await;
    let request = &asked["inputRequests"]["1-confirm"];
    assert_eq!(request["method"], "elicitation/create", "{asked}");
    assert_eq!(request["params"]["message"], "Delete a.txt?");
    assert_eq!(asked.get("requestState"), None, "{asked}");
    // What is no answer to it, what was not asked, and another's answer.
    for wrong in [
        json!(1),
        accept(json!({"confirm": "yes"})),
        json!({"action": "yes"}),
    ] {
        let refused = desk.alice.update(&id, json!({"1-confirm": wrong})).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    let ack = desk
        .alice
        .update(&id, json!({"unknown": {"ignored": true}}))
        .await;
    assert_eq!(ack["result"]["resultType"], "complete", "{ack}");
    let yes = json!({"1-confirm": accept(json!({"confirm": true}))});
    let refused = desk.bob.update(&id, yes.clone()).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert_eq!(
        desk.alice.get(&id).await["result"]["status"],
        "input_required"
    );
    assert_eq!(desk.intents().len(), 1);

    let ack = desk.alice.update(&id, yes).await;
    assert_eq!(ack["result"].get("status"), None, "{ack}");
    let over = desk.alice.over(&id).await;
    assert_eq!(
        over["result"]["content"][0]["text"], "Deleted a.txt",
        "{over}"
    );
    // Two calls of one job, the question between them decided and written down.
    let intents = desk.intents();
    assert_eq!(intents.len(), 2);
    assert!(
        intents
            .iter()
            .all(|intent| intent.job == intents[0].job && intent.job.is_some())
    );
    let round = intents[1].round.unwrap();
    assert_eq!((round.number, round.first), (2, Some(intents[0].call)));
    let questions = desk.records().into_iter().filter(|record| {
        matches!(&record.event, Event::HostCall(call) if call.host_call.capability == "ask")
    });
    assert_eq!(questions.count(), 1);
    assert_eq!(words(&desk.changes()), ["job.started", "job.ended"]);

    // One at a time, in any order; what was answered is not asked again.
    let id = desk.alice.begin("multi_input", json!({})).await;
    let asked = desk.alice.until(&id, &["input_required"]).await;
    assert_eq!(asked["inputRequests"].as_object().unwrap().len(), 2);
    let name = accept(json!({"name": "Ada"}));
    desk.alice.update(&id, json!({"1-name": name})).await;
    let asked = desk.alice.get(&id).await;
    let left: Vec<_> = asked["result"]["inputRequests"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(left, ["1-confirm"]);
    desk.alice
        .update(
            &id,
            json!({"1-name": accept(json!({"name": "Eve"})), "1-confirm": {"action": "decline"}}),
        )
        .await;
    let over = desk.alice.over(&id).await;
    let text = over["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Ada") && text.contains("decline"), "{over}");
    assert!(!text.contains("Eve"));
    desk.verify();
}

#[tokio::test]
async fn what_a_client_can_not_be_asked_ends_the_job() {
    let desk = Desk::start(PROBE_POLICY, "").await;
    let without = desk.alice.with(json!({"extensions": {JOBS: {}}}));
    let id = without
        .begin("confirm_delete", json!({"filename": "a"}))
        .await;
    let over = without.over(&id).await;
    assert_eq!(over["status"], "failed", "{over}");
    assert_eq!(over["error"]["code"], -32021, "{over}");
    let last = desk.intents().pop().unwrap();
    assert_eq!(desk.outcome(&last).1, Some(Reason::InputUnsupported));
    // A job that waits ends when it is cancelled, and no call with it.
    let id = desk
        .alice
        .begin("confirm_delete", json!({"filename": "a"}))
        .await;
    desk.alice.until(&id, &["input_required"]).await;
    desk.alice.cancel(&id).await;
    assert_eq!(desk.alice.over(&id).await["status"], "cancelled");
    assert_eq!(desk.intents().len(), 2);
    assert!(words(&desk.changes()).contains(&"job.cancelled"));
}

#[tokio::test]
async fn what_a_tool_asks_first_is_asked_before_there_is_a_job() {
    let desk = Desk::start(PROBE_POLICY, "").await;
    let tool = "test_tool_with_task";
    let asked = desk.alice.call(tool, json!({})).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_eq!(desk.served.host.jobs().count(), 0);
    let params = json!({
        "name": tool, "arguments": {},
        "inputResponses": {"user_name": accept(json!({"name": "Alice"}))},
        "requestState": asked["result"]["requestState"],
    });
    let answer = desk.alice.ask("tools/call", params).await;
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    assert_eq!(answer["result"].get("requestState"), None);
    let id = answer["result"]["taskId"].as_str().unwrap();
    let over = desk.alice.over(id).await;
    assert_eq!(
        over["result"]["content"][0]["text"], "Done for Alice",
        "{over}"
    );
    let intents = desk.intents();
    assert_eq!(intents[0].job, None);
    assert_eq!(intents[1].job.unwrap().to_string(), id);
    assert_eq!(intents[1].round.unwrap().first, Some(intents[0].call));
    // Without jobs it is not even asked.
    let params = json!({"name": tool, "arguments": {}});
    let without = desk.alice.with(json!({"elicitation": {}}));
    let (_, refused) = without.said("tools/call", params).await;
    assert_eq!(refused["error"]["code"], -32021, "{refused}");
    assert_eq!(desk.refusals(), [Reason::JobRequired]);
}

impl Desk {
    /// What a person is asked to agree to; there is one thing.
    fn asked(&self) -> ApprovalId {
        let ids: Vec<_> = self
            .records()
            .iter()
            .filter_map(|record| match &record.event {
                Event::ApprovalAsked(asked) => Some(asked.approval),
                _ => None,
            })
            .collect();
        *ids.last().expect("somebody is asked")
    }

    async fn answer(&self, id: ApprovalId, answer: Answer) -> Status {
        self.answers(id, answer).await.unwrap()
    }

    /// What comes of a person's answer.
    async fn answers(&self, id: ApprovalId, answer: Answer) -> Result<Status, Reason> {
        let people = self.served.host.people();
        let ada = "ada".parse().unwrap();
        let issued = people
            .add(&ada, false, None)
            .or_else(|_| people.rotate(&ada, None))
            .unwrap();
        let by = people.authenticate(issued.token.expose()).unwrap();
        let answered = self.served.host.approvals().answer(id, &by, answer).await;
        answered
            .map(|approval| approval.status)
            .map_err(|refusal| refusal.reason)
    }

    fn approval(&self, id: ApprovalId) -> std::sync::Arc<Approval> {
        self.served.host.approvals().get(id).unwrap()
    }
}

#[tokio::test]
async fn a_held_call_waits_as_a_job_and_runs_once_when_a_person_agrees() {
    let desk = Desk::start(HELD, "").await;
    let id = desk.alice.begin("probe_send", desk.get("/echo")).await;
    let waiting = desk.alice.get(&id).await;
    let approval = desk.asked();
    assert_eq!(waiting["result"]["status"], "working", "{waiting}");
    let message = waiting["result"]["statusMessage"].as_str().unwrap();
    assert!(message.starts_with("approval_required:"), "{message}");
    assert!(message.contains(&approval.to_string()), "{message}");
    // A form in the client is nobody's agreement.
    desk.alice
        .update(
            &id,
            json!({"1-approval": {"action": "accept", "content": {}}}),
        )
        .await;
    assert_eq!(desk.upstream.ledger().await.len(), 0);
    assert_eq!(desk.intents().len(), 0);

    let agreed = Answer::Approve { standing: None };
    assert_eq!(desk.answer(approval, agreed).await, Status::Approved);
    let over = desk.alice.over(&id).await;
    assert_eq!(over["status"], "completed", "{over}");
    assert_eq!(desk.upstream.ledger().await.len(), 1);
    let intents = desk.intents();
    assert_eq!(intents.len(), 1);
    assert_eq!(intents[0].job.unwrap().to_string(), id);
    assert_eq!(desk.approval(approval).status, Status::Used);
    assert_eq!(desk.outcome(&intents[0]), ("ok".to_owned(), None));
    assert_eq!(words(&desk.changes()), ["job.started", "job.ended"]);
    let held = desk
        .records()
        .into_iter()
        .filter_map(|record| match &record.event {
            event @ Event::Hold(_) => reason_of(event),
            _ => None,
        });
    assert_eq!(held.collect::<Vec<_>>(), [Reason::ApprovalRequired]);

    // A no ends it, before anything ran.
    let id = desk.alice.begin("probe_send", desk.get("/echo?no")).await;
    let no = Answer::Deny { why: None };
    assert_eq!(desk.answer(desk.asked(), no).await, Status::Denied);
    let over = desk.alice.over(&id).await;
    assert_eq!(over["status"], "failed", "{over}");
    assert_eq!(over["error"]["data"]["code"], "approval.denied", "{over}");
    assert_eq!(desk.refusals(), [Reason::ApprovalDenied]);
    // Cancelled while it waits, it is over, and what is agreed to then runs nothing.
    let id = desk.alice.begin("probe_send", desk.get("/echo?late")).await;
    desk.alice.cancel(&id).await;
    assert_eq!(desk.alice.over(&id).await["status"], "cancelled");
    let late = Answer::Approve { standing: None };
    assert_eq!(desk.answer(desk.asked(), late).await, Status::Approved);
    assert_eq!(desk.intents().len(), 1);
    assert_eq!(desk.upstream.ledger().await.len(), 1);
    desk.verify();
}

#[tokio::test]
async fn a_client_that_shows_pages_is_asked_to_and_that_approves_nothing() {
    let upstream = Upstream::start().await;
    let (_folder, home) = Setup::probe_at(&upstream.origin(), HELD)
        .shared_rules()
        .toml("[admin]\nlisten = \"127.0.0.1:0\"")
        .make()
        .await;
    let mut daemon = Daemon::start(&home).await;
    let shows = Asks::of(daemon.client(&daemon.agent("alice").await))
        .with(json!({"extensions": {JOBS: {}}, "elicitation": {"url": {}}}));
    let ada = run(&home, &["person", "add", "ada"]).await.out;
    let id = shows
        .begin("probe_send", request(upstream.plain, "/echo"))
        .await;
    let waiting = shows.get(&id).await["result"].clone();
    assert_eq!(waiting["status"], "input_required", "{waiting}");
    let page = &waiting["inputRequests"]["1-approval"]["params"];
    assert_eq!(page["mode"], "url", "{waiting}");
    let approval = page["url"].as_str().unwrap().rsplit('/').next().unwrap();
    let opened = json!({"1-approval": {"action": "accept", "content": {"approve": true}}});
    let ack = shows.update(&id, opened).await;
    assert_eq!(ack["result"]["resultType"], "complete", "{ack}");
    let still = shows.get(&id).await["result"].clone();
    assert_eq!(still["status"], "working", "{still}");
    assert!(still["statusMessage"].as_str().unwrap().contains(approval));
    assert_eq!(intents(records(&home.journal())).len(), 0);
    assert_eq!(upstream.ledger().await.len(), 0);
    let said = run_as(&home, ada.trim(), &["approvals", "approve", approval]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(shows.over(&id).await["status"], "completed");
    assert_eq!(upstream.ledger().await.len(), 1);
    daemon.stop().await;
    assert_eq!(intents(records(&home.journal())).len(), 1);
}

const YES: Answer = Answer::Approve { standing: None };

impl Desk {
    /// A job of `asks` that waits for a person, and what that one is asked.
    async fn held(&self, asks: &Asks) -> (String, ApprovalId) {
        let id = asks.begin("probe_send", self.get("/echo")).await;
        assert_eq!(asks.get(&id).await["result"]["status"], "working");
        let approval = self.asked();
        assert_eq!(self.approval(approval).status, Status::Pending);
        (id, approval)
    }

    /// The reasons that are written down for the ends of jobs.
    fn ended(&self) -> Vec<Option<Reason>> {
        let changes = self.changes().into_iter();
        let ended = changes.filter(|change| change.change == "job.ended");
        ended.map(|change| change.reason).collect()
    }

    /// Nothing that was held ran, and nothing of it went out.
    async fn assert_nothing_ran(&self) {
        assert_eq!(self.intents().len(), 0);
        assert_eq!(self.upstream.ledger().await.len(), 0);
        self.verify();
    }
}

fn failed_for(over: &Value, reason: Reason) {
    assert_eq!(over["status"], "failed", "{over}");
    assert_eq!(over["error"]["data"]["code"], reason.code(), "{over}");
}

#[tokio::test]
async fn a_held_job_ends_with_its_agent_and_with_everything() {
    a_stop_ends_what_is_held().await;
}

/// P11, of jobs that wait for a person.
pub(crate) async fn a_stop_ends_what_is_held() {
    let desk = Desk::start(HELD, "").await;
    let (of_alice, alices) = desk.held(&desk.alice).await;
    let (of_bob, bobs) = desk.held(&desk.bob).await;
    let host = &desk.served.host;
    let revoked = revoke(host, Scope::Agent(agent("alice")), "test")
        .await
        .unwrap();
    assert_eq!(revoked.approvals, [alices]);
    let alice = Asks::of(desk.served.client(&desk.served.agent("alice")));
    failed_for(&alice.over(&of_alice).await, Reason::RevokedAgent);
    assert_eq!(desk.ended(), [Some(Reason::RevokedAgent)]);
    // Nobody agrees to it any more, and nobody else is concerned.
    assert_eq!(desk.approval(alices).status, Status::Revoked);
    assert_eq!(
        desk.answers(alices, YES).await,
        Err(Reason::RevokedApproval)
    );
    assert_eq!(desk.bob.get(&of_bob).await["result"]["status"], "working");

    revoke(host, Scope::All, "test").await.unwrap();
    assert_eq!(desk.answers(bobs, YES).await, Err(Reason::RevokedApproval));
    lift(host, Scope::All, "test").await.unwrap();
    failed_for(&desk.bob.over(&of_bob).await, Reason::RevokedAll);
    let both = [Some(Reason::RevokedAgent), Some(Reason::RevokedAll)];
    assert_eq!(desk.ended(), both);
    desk.assert_nothing_ran().await;
}

#[tokio::test]
async fn a_held_job_ends_with_its_task_and_with_its_approval() {
    let desk = Desk::start(HELD, "").await;
    let host = &desk.served.host;
    let on = host.start_task(task("alice", &["probe.*"])).await.unwrap();
    let (of_alice, alices) = desk.held(&desk.alice).await;
    let (of_bob, bobs) = desk.held(&desk.bob).await;
    host.end_task(on.id, End::Ended, "test").await.unwrap();
    failed_for(&desk.alice.over(&of_alice).await, Reason::TaskEnded);
    assert_eq!(desk.approval(alices).status, Status::Withdrawn);
    assert_eq!(
        desk.answers(alices, YES).await,
        Err(Reason::ApprovalWithdrawn)
    );

    let revoked = revoke(host, Scope::Approval(bobs), "test").await.unwrap();
    assert_eq!(revoked.approvals, [bobs]);
    failed_for(&desk.bob.over(&of_bob).await, Reason::RevokedApproval);
    let both = [Some(Reason::TaskEnded), Some(Reason::RevokedApproval)];
    assert_eq!(desk.ended(), both);
    desk.assert_nothing_ran().await;
}

#[tokio::test]
async fn a_held_job_ends_as_its_client_cancels_it_and_with_the_host() {
    let desk = Desk::start(HELD, "").await;
    let (of_alice, _) = desk.held(&desk.alice).await;
    desk.alice.cancel(&of_alice).await;
    let over = desk.alice.over(&of_alice).await;
    assert_eq!(over["status"], "cancelled", "{over}");
    desk.alice.cancel(&of_alice).await;
    assert_eq!(
        words(&desk.changes()),
        ["job.started", "job.cancelled", "job.ended"]
    );

    desk.held(&desk.bob).await;
    desk.served.host.stop().await;
    assert_eq!(desk.ended(), [None, Some(Reason::HostDraining)]);
    assert_eq!(desk.served.host.jobs().count(), 0);
    assert_eq!(desk.intents().len(), 0);
    assert_eq!(desk.upstream.ledger().await.len(), 0);
}
