//! Answers to what a plugin asked are data that it acts on: what a person agreed to are those, and no others.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tollgate::approval::{Answer, Approval, Status};
use tollgate::call::{Arrival, ClientSide, Reply, Round};
use tollgate::journal::record::{CallId, Event};
use tollgate::plugin::QuestionKind;
use tollgate::reason::Reason;

use super::asked;
use crate::harness::mcp::Client;
use crate::harness::served::Served;
use crate::harness::{Bench, Look as _, Setup, arrival, intents, reason_of};

/// It asks for a yes, keeps a state, and is done once both come back.
const TOOL: &str = "test_input_required_result_request_state";
const DONE: &str = "state-ok: requestState validated";

const ASKS: &str = r#"
@id("asks")
permit (principal in Group::"everyone", action in Action::"ask", resource in Plugin::"conformance");
"#;

/// Each round waits for a person.
const HELD: &str = r#"
@id("calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"conformance")
when { context.approved };
"#;

/// First rounds run, and so does a later one that brings a yes.
const YES: &str = r#"
@id("first")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"conformance")
when { context.round == 1 || context.answers.contains("/confirm/content/ok=true") };
"#;

fn fixture(policy: &str) -> Setup {
    Setup::empty()
        .component("conformance", guests::CONFORMANCE)
        .policy("conformance", &format!("{policy}{ASKS}"))
        .shared_rules()
        .toml("[plugin.conformance]\nprefix = \"\"")
}

fn confirm(ok: bool) -> Value {
    json!({"action": "accept", "content": {"ok": ok}})
}

impl Bench {
    /// The tool as `alice`, in a round, naming an approval.
    async fn round(&self, round: Option<Round>, names: Option<&Approval>) -> Reply {
        let arrival = Arrival {
            client: ClientSide {
                offers: vec![QuestionKind::Form],
                ..ClientSide::default()
            },
            approval: names.map(|approval| approval.id.to_string()),
            round,
            ..arrival("alice", TOOL, "{}")
        };
        self.host.call(arrival, CancellationToken::new()).await
    }
}

/// The round that brings this answer, as the transport makes it of a state that the host sealed in `first`.
fn second(first: Option<CallId>, ok: bool, state: Option<Vec<u8>>) -> Option<Round> {
    Some(Round {
        number: 2,
        first,
        answers: vec![("confirm".to_owned(), confirm(ok))],
        state,
        ..Round::default()
    })
}

/// A12. A person agreed to a call; its agent sends it with answers of its own.
#[tokio::test]
pub(crate) async fn an_approval_is_worth_nothing_for_answers_that_nobody_saw() {
    let _row = crate::attacks::stands_for("A12");
    let bench = fixture(HELD).start().await;
    let once = || Answer::Approve { standing: None };
    let id = asked(&bench.round(None, None).await);
    assert_eq!(bench.answer(id, "ada", once()).await, Ok(Status::Approved));
    let first = bench.approval(id);

    // Answers that the host never asked for, beside the approval and without it.
    for names in [None, Some(&*first)] {
        let own = bench.round(second(None, true, None), names).await;
        bench.assert_refused(&own, Reason::InputUnasked);
    }
    assert_eq!(bench.used(id), []);

    // The first round is what was agreed to; it asks.
    let ran = bench.round(None, Some(&first)).await;
    let questions = ran.asks.clone().unwrap_or_else(|| panic!("{}", ran.text()));
    assert_eq!(bench.used(id), [ran.call]);
    let round = |ok| second(Some(ran.call), ok, questions.state.clone());

    // The answers are for a person again, who reads them.
    let held = asked(&bench.round(round(true), None).await);
    assert_ne!(held, id);
    let approval = bench.approval(held);
    let shown = approval.summary.input.as_ref().expect("the answers");
    assert_eq!(shown.round, 2);
    assert_eq!(
        shown.answers,
        r#"{"confirm":{"action":"accept","content":{"ok":true}}}"#
    );
    assert!(approval.summary.to_string().contains("answers    round 2"));
    assert_eq!(
        bench.answer(held, "ada", once()).await,
        Ok(Status::Approved)
    );
    // That is for these answers, in this round, beside this state.
    for other in [
        None,
        round(false),
        second(Some(ran.call), true, None),
        round(true).map(|round| Round { number: 3, ..round }),
    ] {
        let reply = bench.round(other, Some(&approval)).await;
        bench.assert_refused(&reply, Reason::ApprovalArguments);
    }
    assert_ne!(asked(&bench.round(round(false), None).await), held);
    assert_eq!(bench.used(held), []);
    let done = bench.round(round(true), None).await;
    assert_eq!(done.text(), DONE);
    assert_eq!(bench.used(held), [done.call]);
    assert_eq!(intents(bench.records()).len(), 2);
    assert_eq!(bench.sent().await, 0);
    bench.verify();
}

#[tokio::test]
async fn policy_judges_the_answers_of_a_round() {
    let bench = fixture(YES).start().await;
    let first = bench.round(None, None).await;
    let state = first.asks.as_ref().unwrap().state.clone();
    let no = bench
        .round(second(Some(first.call), false, state.clone()), None)
        .await;
    bench.assert_refused(&no, Reason::PolicyDefault);
    let yes = bench
        .round(second(Some(first.call), true, state), None)
        .await;
    assert_eq!(yes.text(), DONE);
    bench.verify();
}

async fn ask(client: &Client, more: Value) -> Value {
    let mut params = json!({
        "name": TOOL, "arguments": {},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}},
    });
    let members = params.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    client.request("tools/call", params).await.unwrap().last()
}

/// The same over the protocol: what a client writes beside its call is no answer to a question.
#[tokio::test]
async fn answers_without_a_state_of_this_host_run_nothing() {
    let served = Served::start(fixture(YES)).await;
    let client = served.client(&served.agent("alice"));
    let own = json!({"inputResponses": {"confirm": confirm(true)}});
    let refused = ask(&client, own.clone()).await;
    let told = &refused["result"]["_meta"]["dev.tollgate/refusal"];
    assert_eq!(told["code"], "input.unasked", "{refused}");
    let records = served.records();
    let reasons: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.event {
            event @ Event::Refusal(_) => reason_of(event),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [Reason::InputUnasked]);
    assert_eq!(intents(records).len(), 0, "the plugin did not run");

    // Of many that send one state at once, one goes on.
    let first = ask(&client, json!({})).await;
    let state = &first["result"]["requestState"];
    let wrong = json!({"requestState": state, "inputResponses": {"confirm": {"action": "yes"}}});
    let refused = ask(&client, wrong).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let again = json!({"requestState": state, "inputResponses": own["inputResponses"]});
    let all = futures_util::future::join_all((0..4).map(|_| ask(&client, again.clone()))).await;
    let done = all
        .iter()
        .filter(|answer| answer["result"]["content"][0]["text"] == DONE);
    assert_eq!(done.count(), 1, "{all:?}");
    let none = all
        .iter()
        .filter(|answer| answer["error"]["code"] == -32602);
    assert_eq!(none.count(), 3, "{all:?}");
    assert_eq!(intents(served.records()).len(), 2);
}
