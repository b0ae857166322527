//! What plugins offer beside tools, and what they ask: each is listed, decided, run and recorded like a call,
//! and the same component serves both eras of the protocol.

use serde_json::{Value, json};
use tollgate::journal::record::{Event, Intent};
use tollgate::plugin::Kind;
use tollgate::reason::Reason;

use crate::harness::Setup;
use crate::harness::binary::Daemon;
use crate::harness::intents;
use crate::harness::mcp::{Answer, Client, Pipe};
use crate::harness::served::Served;

/// Tools alone.
const TOOLS: &str = r#"
@id("fixture.calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"conformance");
"#;

/// All else that it offers.
const OFFERS: &str = r#"
@id("fixture.offers")
permit (
  principal in Group::"everyone",
  action in [Action::"get-prompt", Action::"read-resource", Action::"complete"],
  resource in Plugin::"conformance"
);
"#;

/// And forms, but nothing else, may be asked.
const FORMS: &str = r#"
@id("fixture.forms")
permit (principal in Group::"everyone", action in Action::"ask", resource in Plugin::"conformance")
when { context.kind == "form" };
"#;

fn fixture(policy: &[&str]) -> Setup {
    Setup::empty()
        .component("conformance", guests::CONFORMANCE)
        .policy("conformance", &policy.concat())
        .toml("[plugin.conformance]\nprefix = \"\"")
}

/// A request of the newest revision; the last message of its answer.
async fn ask(client: &Client, method: &str, params: Value) -> Value {
    let (_, message) = said(client, method, params).await;
    message
}

async fn said(client: &Client, method: &str, params: Value) -> (Answer, Value) {
    let answer = client.request(method, params).await.unwrap();
    let message = answer.last();
    (answer, message)
}

/// The state that a client carries to the next round.
fn state_of(asked: &Value) -> String {
    let state = asked["result"]["requestState"].as_str();
    state.unwrap_or_else(|| panic!("{asked}")).to_owned()
}

/// The parameters of a call by a client that declares these.
fn call(tool: &str, capabilities: Value, more: Value) -> Value {
    let mut params = json!({
        "name": tool, "arguments": {},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": capabilities},
    });
    let members = params.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    params
}

fn names(result: &Value, list: &str, member: &str) -> Vec<String> {
    let items = result["result"][list]
        .as_array()
        .unwrap_or_else(|| panic!("{result}"));
    items
        .iter()
        .map(|item| item[member].as_str().unwrap().to_owned())
        .collect()
}

fn last_intent(served: &Served) -> Intent {
    intents(served.records()).pop().unwrap()
}

#[tokio::test]
async fn prompts_resources_and_completion_are_calls() {
    let served = Served::start(fixture(&[TOOLS, OFFERS])).await;
    let client = served.client(&served.agent("alice"));
    let listed = ask(&client, "prompts/list", json!({})).await;
    assert_eq!(
        names(&listed, "prompts", "name")[0],
        "test_input_required_result_prompt"
    );
    assert_eq!(listed["result"]["cacheScope"], "private");

    let params = json!({
        "name": "test_prompt_with_arguments", "arguments": {"arg1": "a", "arg2": "b"},
    });
    let prompt = ask(&client, "prompts/get", params).await;
    assert_eq!(
        prompt["result"]["messages"],
        json!([{"role": "user", "content": {
            "type": "text", "text": "Prompt with arguments: arg1='a', arg2='b'"}}])
    );
    let intent = last_intent(&served);
    assert_eq!(intent.kind, Kind::Prompt);
    assert_eq!(
        intent.tool.to_string(),
        "conformance.test_prompt_with_arguments"
    );
    assert_eq!(intent.decision.policies[0].id, "fixture.offers");

    // What it was not described to take, it does not get.
    for arguments in [
        json!({"arg1": "a"}),
        json!({"arg1": "a", "arg2": "b", "arg3": "c"}),
    ] {
        let params = json!({"name": "test_prompt_with_arguments", "arguments": arguments});
        let refused = ask(&client, "prompts/get", params).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }

    let listed = ask(&client, "resources/list", json!({})).await;
    assert_eq!(
        names(&listed, "resources", "uri"),
        [
            "test://static-binary",
            "test://static-text",
            "test://watched-resource"
        ]
    );
    let listed = ask(&client, "resources/templates/list", json!({})).await;
    assert_eq!(
        names(&listed, "resourceTemplates", "uriTemplate"),
        ["test://template/{id}/data"]
    );
    let read = |uri: &str| ask(&client, "resources/read", json!({"uri": uri}));
    let held = read("test://template/12/data").await;
    assert!(
        held["result"]["contents"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("Data for ID: 12")),
        "{held}"
    );
    let intent = last_intent(&served);
    assert_eq!(intent.kind, Kind::Resource);
    assert_eq!(intent.tool.to_string(), "conformance.template");
    assert!(intent.arguments.view.contains("test://template/12/data"));
    assert!(intent.arguments.view.contains("\"id\""));
    for uri in [
        "test://nowhere",
        "test://template/1/2/data",
        "conformance.template",
    ] {
        let unknown = read(uri).await;
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    }

    let completion = json!({
        "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
        "argument": {"name": "arg1", "value": "par"},
    });
    let values = ask(&client, "completion/complete", completion).await;
    assert_eq!(
        values["result"]["completion"]["values"],
        json!(["paris", "park", "party"])
    );
    assert_eq!(last_intent(&served).kind, Kind::Completion);

    // A prompt is no tool, and a tool no prompt.
    let called = ask(
        &client,
        "tools/call",
        json!({"name": "test_simple_prompt", "arguments": {}}),
    );
    assert_eq!(called.await["error"]["code"], -32602);
    let got = ask(&client, "prompts/get", json!({"name": "test_simple_text"}));
    assert_eq!(got.await["error"]["code"], -32602);
}

#[tokio::test]
async fn what_policy_does_not_allow_is_neither_listed_nor_given() {
    let served = Served::start(fixture(&[TOOLS])).await;
    let client = served.client(&served.agent("alice"));
    for (method, list) in [
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ] {
        let listed = ask(&client, method, json!({})).await;
        assert_eq!(listed["result"][list], json!([]), "{listed}");
    }
    let prompt = ask(
        &client,
        "prompts/get",
        json!({"name": "test_simple_prompt"}),
    )
    .await;
    assert_eq!(prompt["error"]["data"]["code"], "policy.default_deny");
    let read = ask(
        &client,
        "resources/read",
        json!({"uri": "test://static-text"}),
    )
    .await;
    assert_eq!(read["error"]["data"]["code"], "policy.default_deny");
    let completion = json!({
        "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
        "argument": {"name": "arg1", "value": "par"},
    });
    let values = ask(&client, "completion/complete", completion).await;
    assert_eq!(values["error"]["code"], -32602, "{values}");
    assert!(intents(served.records()).is_empty());
}

const FORM: &str = "test_input_required_result_elicitation";

#[tokio::test]
async fn a_question_takes_a_capability_of_the_client_and_policy() {
    let served = Served::start(fixture(&[TOOLS, FORMS])).await;
    let client = served.client(&served.agent("alice"));
    // The client offers nothing.
    let (answer, refused) = said(&client, "tools/call", call(FORM, json!({}), json!({}))).await;
    assert_eq!(answer.status, 400, "{refused}");
    assert_eq!(refused["error"]["code"], -32021, "{refused}");
    assert_eq!(
        refused["error"]["data"]["requiredCapabilities"],
        json!({"elicitation": {"form": {}}})
    );
    // It offers its model, which policy does not let the plugin ask.
    let params = call(
        "test_input_required_result_sampling",
        json!({"sampling": {}}),
        json!({}),
    );
    let refused = ask(&client, "tools/call", params).await;
    assert_eq!(
        refused["result"]["_meta"]["dev.tollgate/refusal"]["code"], "policy.default_deny",
        "{refused}"
    );
    let records = served.records();
    let of_question = records.iter().find_map(|record| match &record.event {
        Event::Refusal(refusal) => Some((refusal.host_call.clone()?, refusal.reason)),
        _ => None,
    });
    let (host_call, reason) = of_question.unwrap();
    assert_eq!(
        (host_call.capability.as_str(), host_call.target.as_str()),
        ("ask", "sampling capital_question")
    );
    assert_eq!(reason, Reason::PolicyDefault);
    // Of three questions policy allows one: then none is asked, and none is written down as asked.
    let params = call(
        "test_input_required_result_multiple_inputs",
        json!({"elicitation": {}, "sampling": {}, "roots": {}}),
        json!({}),
    );
    let refused = ask(&client, "tools/call", params).await;
    assert_eq!(
        refused["result"]["_meta"]["dev.tollgate/refusal"]["code"], "policy.default_deny",
        "{refused}"
    );
    let asked = |event: &Event| matches!(event, Event::HostCall(call) if call.host_call.capability == "ask");
    assert!(!served.records().iter().any(|record| asked(&record.event)));
    // What may be asked is asked, and written down.
    let params = call(FORM, json!({"elicitation": {}}), json!({}));
    let asked = ask(&client, "tools/call", params).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let records = served.records();
    assert!(records.iter().any(|record| matches!(&record.event,
        Event::HostCall(call) if call.host_call.target == "form user_name"
            && call.decision.policies[0].id == "fixture.forms")));
}

#[tokio::test]
async fn a_round_is_of_one_agent_one_call_and_once() {
    let served = Served::start(fixture(&[TOOLS, OFFERS, FORMS])).await;
    let alice = served.client(&served.agent("alice"));
    let bob = served.client(&served.agent("bob"));
    let tool = "test_input_required_result_request_state";
    let elicitation = || json!({"elicitation": {}});
    let first = ask(&alice, "tools/call", call(tool, elicitation(), json!({}))).await;
    let state = state_of(&first);
    assert!(!state.contains("no client can read"));
    let asked_first = last_intent(&served);
    let answers = json!({"confirm": {"action": "accept", "content": {"ok": true}}});
    let again = |tool: &str, state: &str, answers: &Value| {
        let more = json!({"requestState": state, "inputResponses": answers});
        call(tool, json!({"elicitation": {}}), more)
    };
    let other = "test_input_required_result_tampered_state";
    for (client, params) in [
        (&bob, again(tool, &state, &answers)),
        (&alice, again(other, &state, &answers)),
        (&alice, again(tool, &format!("{state}-TAMPERED"), &answers)),
        (&alice, again(tool, "t1.", &answers)),
    ] {
        let refused = ask(client, "tools/call", params).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    let done = ask(&alice, "tools/call", again(tool, &state, &answers)).await;
    assert_eq!(
        done["result"]["content"][0]["text"], "state-ok: requestState validated",
        "{done}"
    );
    let second = last_intent(&served);
    let round = second.round.unwrap();
    assert_eq!((round.number, round.first), (2, Some(asked_first.call)));
    assert_ne!(second.call, asked_first.call);
    let replayed = ask(&alice, "tools/call", again(tool, &state, &answers)).await;
    assert_eq!(replayed["error"]["code"], -32602, "{replayed}");

    // An answer that is none is not passed on, and one to nothing that was asked is left out.
    let first = ask(&alice, "tools/call", call(tool, elicitation(), json!({}))).await;
    let state = state_of(&first);
    let wrong = json!({"confirm": {"action": "yes"}});
    let refused = ask(&alice, "tools/call", again(tool, &state, &wrong)).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    // What was refused used nothing up.
    let done = ask(&alice, "tools/call", again(tool, &state, &answers)).await;
    assert_eq!(done["result"]["isError"], false, "{done}");
    let first = ask(&alice, "tools/call", call(tool, elicitation(), json!({}))).await;
    let state = state_of(&first);
    let strange = json!({"other": {"action": "accept", "content": {"ok": true}}});
    let asked = ask(&alice, "tools/call", again(tool, &state, &strange)).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
}

/// A session of an older revision whose client offers forms and has a model.
async fn older(home: &tollgate::home::Home) -> Pipe {
    let mut client = Pipe::spawn(home, "alice");
    let hello = json!({
        "protocolVersion": "2025-11-25", "clientInfo": {"name": "test", "version": "1"},
        "capabilities": {"elicitation": {}, "sampling": {}},
    });
    client.request("initialize", hello).await;
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    client
}

/// The next request or notification of this method.
async fn next(client: &mut Pipe, method: &str) -> Value {
    loop {
        let message = client.receive().await.expect("a message");
        if message["method"] == method {
            return message;
        }
    }
}

#[tokio::test]
async fn the_same_plugin_asks_the_client_of_an_older_session_within_the_call() {
    let (_folder, home) = fixture(&[TOOLS, OFFERS, FORMS]).make().await;
    let daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    let mut client = older(&home).await;
    let id = client
        .ask(
            "tools/call",
            json!({"name": "test_input_required_result_multi_round", "arguments": {}}),
        )
        .await;
    for (field, value) in [("name", "Ada"), ("color", "blue")] {
        let asked = next(&mut client, "elicitation/create").await;
        assert_eq!(
            asked["params"]["requestedSchema"]["required"],
            json!([field]),
            "{asked}"
        );
        let answer = json!({"action": "accept", "content": {field: value}});
        client
            .send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer}))
            .await;
    }
    let done = client.answer(id).await;
    assert_eq!(
        done["result"]["content"][0]["text"], "Ada likes blue",
        "{done}"
    );
    // What policy refuses is not asked there either.
    let refused = client.call("test_sampling", &json!({"prompt": "x"})).await;
    assert_eq!(
        refused["_meta"]["dev.tollgate/refusal"]["code"],
        "policy.default_deny"
    );
    // A client that gives no answer has cancelled.
    let id = client
        .ask(
            "prompts/get",
            json!({"name": "test_input_required_result_prompt"}),
        )
        .await;
    let asked = next(&mut client, "elicitation/create").await;
    let error = json!({"code": -32603, "message": "no"});
    client
        .send(&json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}))
        .await;
    let asked = next(&mut client, "elicitation/create").await;
    let answer = json!({"action": "accept", "content": {"context": "c"}});
    client
        .send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer}))
        .await;
    let prompt = client.answer(id).await;
    assert!(
        prompt["result"]["messages"][0]["content"]["text"]
            .as_str()
            .is_some_and(|text| text.contains('c')),
        "{prompt}"
    );
    let rounds: Vec<_> = intents(crate::harness::records(&home.journal()))
        .iter()
        .map(|intent| intent.round.map_or(1, |round| round.number))
        .collect();
    assert_eq!(rounds, [1, 2, 3, 1, 1, 2, 3]);
    drop(daemon);
}

#[tokio::test]
async fn lines_and_changes_go_to_who_asked_for_them() {
    let (_folder, home) = fixture(&[TOOLS, OFFERS]).make().await;
    let daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    let mut quiet = older(&home).await;
    let mut client = older(&home).await;
    quiet.call("test_tool_with_logging", &json!({})).await;
    assert_eq!(quiet.notes, Vec::<Value>::new());

    client
        .request("logging/setLevel", json!({"level": "info"}))
        .await;
    client.call("test_tool_with_logging", &json!({})).await;
    let lines: Vec<_> = client
        .notes
        .drain(..)
        .filter(|note| note["method"] == "notifications/message")
        .map(|note| note["params"]["data"].clone())
        .collect();
    assert_eq!(
        lines,
        [
            "Tool execution started",
            "Tool processing data",
            "Tool execution completed"
        ]
    );
    client
        .request("logging/setLevel", json!({"level": "error"}))
        .await;
    client.call("test_tool_with_logging", &json!({})).await;
    assert!(client.notes.is_empty(), "{:?}", client.notes);

    // Of a resource that is not there, or that this agent may not read, nobody is told.
    let refused = client
        .request("resources/subscribe", json!({"uri": "test://nowhere"}))
        .await;
    assert_eq!(refused["error"]["code"], -32002, "{refused}");
    let watched = json!({"uri": "test://watched-resource"});
    let done = client.request("resources/subscribe", watched.clone()).await;
    assert!(done.get("result").is_some(), "{done}");
    quiet.call("test_trigger_resource_update", &json!({})).await;
    let told = next(&mut client, "notifications/resources/updated").await;
    assert_eq!(told["params"]["uri"], watched["uri"]);
    client.request("resources/unsubscribe", watched).await;
    // What comes next is the other notice, and nothing of the resource.
    quiet.call("test_trigger_resource_update", &json!({})).await;
    quiet.call("test_trigger_prompt_change", &json!({})).await;
    let message = client.receive().await.unwrap();
    assert_eq!(message["method"], "notifications/prompts/list_changed");
}
