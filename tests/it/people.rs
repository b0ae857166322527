//! People, with the real program: credentials of their own class, from the first administrator to the
//! answer of an approval at a terminal, and what clients of MCP see of a hold.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use tollgate::home::Home;

use crate::harness::Setup;
use crate::harness::binary::{Daemon, command, run, run_as};
use crate::harness::mcp::Pipe;

const POLICY: &str = r#"
@id("probe.calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"probe");
@id("people.approve")
permit (principal in Group::"approvers", action in Action::"approve", resource in Plugin::"probe");
"#;

const TOML: &str =
    "[server]\nlisten = \"127.0.0.1:0\"\n[plugin.probe.tool.echo]\ntier = \"hold\"\n";

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("{line}"))
}

/// A credential in a file of its own, closed to others.
fn kept(home: &Home, credential: &str) -> PathBuf {
    let path = home.root().join("credential");
    std::fs::write(&path, format!("{credential}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn people_come_and_go_by_an_administrators_word() {
    let (_folder, home) = Setup::empty().make().await;
    let mut daemon = Daemon::start(&home).await;
    let first = run(&home, &["person", "add", "ada"]).await;
    assert_eq!(first.code, 0, "{first:?}");
    let ada = first.out.trim().to_owned();
    assert!(ada.starts_with("tgp_") && ada.len() == 52, "{first:?}");
    assert!(first.err.contains("may administer"), "{first:?}");
    // From now on it takes a credential, and an administrator's.
    let alone = run(&home, &["person", "add", "eve"]).await;
    assert_eq!(alone.code, 2, "{alone:?}");
    let bob = run_as(&home, &ada, &["person", "add", "bob", "--ttl", "1h"]).await;
    assert_eq!(bob.code, 0, "{bob:?}");
    let bob = bob.out.trim().to_owned();
    assert_eq!(run_as(&home, &bob, &["person", "add", "eve"]).await.code, 2);
    let agent = daemon.agent("alice").await;
    let refused = run_as(&home, &agent, &["person", "add", "eve"]).await;
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("agent's token"), "{refused:?}");
    // A file that others can read is not used.
    let file = kept(&home, &ada);
    let name = file.to_str().unwrap();
    let rotate = ["person", "rotate", "bob", "--credential", name];
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = run(&home, &rotate).await;
    assert_eq!(open.code, 3, "{open:?}");
    assert!(open.err.contains("chmod 600"), "{open:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(&home, &rotate).await.code, 0);
    // The old one is void, also for its owner.
    assert_eq!(run_as(&home, &bob, &["approvals", "list"]).await.code, 2);
    assert_eq!(
        run(&home, &["person", "remove", "bob", "--credential", name])
            .await
            .code,
        0
    );
    let list = run(&home, &["--format", "json", "person", "list"]).await;
    let told: Vec<_> = list
        .lines()
        .iter()
        .map(|line| {
            (
                text(line, "name").to_owned(),
                text(line, "status").to_owned(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("ada".to_owned(), "active".to_owned()),
            ("bob".to_owned(), "removed".to_owned())
        ]
    );
    // It survives the daemon, and no credential stands anywhere in the state.
    daemon.stop().await;
    let _daemon = Daemon::start(&home).await;
    assert_eq!(run_as(&home, &ada, &["approvals", "list"]).await.code, 0);
    let mut files = vec![home.state().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(ada.len())
                .any(|window| window == ada.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_held_call_is_answered_at_a_terminal() {
    let (_folder, home) = Setup::probe_under(POLICY).toml(TOML).make().await;
    let daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let ada = run(&home, &["person", "add", "ada"]).await.out;
    let ada = ada.trim();
    let hostile = "x\u{1b}[2J\u{202e}y";
    let arguments = json!({"text": hostile});
    let held = client.call("probe_echo", &arguments).await;
    let told = &held["_meta"]["dev.tollgate/refusal"];
    assert_eq!(told["code"], "approval_required", "{held}");
    assert_eq!(told["retry"], "same arguments");
    assert!(
        told.get("approvalUrl").is_none(),
        "there is no page: {told}"
    );
    let id = text(told, "approvalId");
    // Without a credential nothing is shown.
    assert_eq!(run(&home, &["approvals", "list"]).await.code, 2);
    let listed = run_as(&home, ada, &["approvals", "list"]).await;
    assert!(listed.out.contains(id), "{listed:?}");
    let shown = run_as(&home, ada, &["approvals", "show", id]).await;
    assert!(shown.out.contains("call probe.echo"), "{shown:?}");
    assert!(shown.out.contains("\\u202e") && shown.out.contains("\\u001b"));
    assert!(!shown.out.contains('\u{1b}') && !shown.out.contains('\u{202e}'));
    let approved = run_as(&home, ada, &["approvals", "approve", id]).await;
    assert_eq!(approved.code, 0, "{approved:?}");
    assert!(approved.err.contains("goes through once"), "{approved:?}");
    let result = client.call("probe_echo", &arguments).await;
    assert_eq!(result["isError"], false, "{result}");
    // Denied: the words go to the agent, and the exit code of a late answer says that it was refused.
    let held = client.call("probe_echo", &arguments).await;
    let id = text(&held["_meta"]["dev.tollgate/refusal"], "approvalId");
    let denied = run_as(
        &home,
        ada,
        &["approvals", "deny", id, "--why", "not on a Sunday"],
    )
    .await;
    assert_eq!(denied.code, 0, "{denied:?}");
    let result = client.call("probe_echo", &arguments).await;
    assert_eq!(
        result["_meta"]["dev.tollgate/refusal"]["code"],
        "approval.denied"
    );
    assert!(result.to_string().contains("not on a Sunday"), "{result}");
    let late = run_as(&home, ada, &["approvals", "approve", id]).await;
    assert_eq!(late.code, 2, "{late:?}");
    let all = run_as(
        &home,
        ada,
        &["--format", "json", "approvals", "list", "--all"],
    )
    .await;
    let statuses: Vec<_> = all
        .lines()
        .iter()
        .map(|l| text(l, "status").to_owned())
        .collect();
    assert_eq!(statuses, ["used", "denied"]);
    // `tollgate call` says what to do.
    let call = ["call", "probe_echo", "{\"text\":\"z\"}", "--agent", "alice"];
    let held = run(&home, &call).await;
    assert_eq!(held.code, 2);
    assert!(
        held.err.contains("tollgate approvals show approval_"),
        "{held:?}"
    );
}

#[tokio::test]
async fn what_a_person_agreed_to_goes_when_the_person_does() {
    let (_folder, home) = Setup::probe_under(POLICY).toml(TOML).make().await;
    let daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let ada = run(&home, &["person", "add", "ada"]).await.out;
    let bob = run_as(&home, ada.trim(), &["person", "add", "bob"])
        .await
        .out;
    let arguments = json!({"text": "a"});
    let held = client.call("probe_echo", &arguments).await;
    let id = text(&held["_meta"]["dev.tollgate/refusal"], "approvalId").to_owned();
    let approve = ["approvals", "approve", &id, "--standing", "2h"];
    assert_eq!(run_as(&home, bob.trim(), &approve).await.code, 0);
    let result = client.call("probe_echo", &arguments).await;
    assert_eq!(result["isError"], false, "{result}");
    let remove = ["--format", "json", "person", "remove", "bob"];
    let removed = run_as(&home, ada.trim(), &remove).await;
    assert_eq!(removed.lines()[0]["approvals"], json!([id]), "{removed:?}");
    let held = client.call("probe_echo", &arguments).await;
    let told = &held["_meta"]["dev.tollgate/refusal"];
    assert_eq!(told["code"], "approval_required", "{held}");
    assert_ne!(text(told, "approvalId"), id);
}

#[tokio::test]
async fn a_watcher_sees_what_waits_and_what_comes() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let (_folder, home) = Setup::probe_under(POLICY).toml(TOML).make().await;
    let mut daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let ada = run(&home, &["person", "add", "ada"]).await.out;
    let mut watcher = command(&home, &["--format", "json", "approvals", "watch"])
        .env("TOLLGATE_PERSON_TOKEN", ada.trim())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let first = client.call("probe_echo", &json!({"text": "a"})).await;
    let id = text(&first["_meta"]["dev.tollgate/refusal"], "approvalId").to_owned();
    let asked: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(
        (text(&asked, "event"), text(&asked, "id")),
        ("asked", id.as_str())
    );
    run_as(&home, ada.trim(), &["approvals", "deny", &id]).await;
    loop {
        let line = lines.next_line().await.unwrap().expect("an answer");
        let told: Value = serde_json::from_str(&line).unwrap();
        if text(&told, "event") == "answered" {
            assert_eq!(text(&told, "status"), "denied");
            break;
        }
    }
    daemon.stop().await;
    assert!(watcher.wait().await.unwrap().success());
}

/// The parameters of a call in the newest revision, from a client that can open pages.
fn modern(arguments: &Value, more: Value) -> Value {
    let mut params = json!({
        "name": "probe_echo", "arguments": arguments,
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        },
    });
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    params
}

async fn ask(client: &crate::harness::mcp::Client, params: Value) -> Value {
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "probe_echo"),
    ];
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = client.post(&headers, message.to_string()).await.unwrap();
    answer
        .messages()
        .pop()
        .unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test]
pub(crate) async fn a_client_that_opens_pages_is_asked_to_and_that_approves_nothing() {
    let _row = crate::attacks::stands_for("M07");
    let toml = format!("{TOML}[admin]\nlisten = \"127.0.0.1:0\"\n");
    let (_folder, home) = Setup::probe_under(POLICY).toml(&toml).make().await;
    let daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let other = daemon.client(&daemon.agent("bob").await);
    let ada = run(&home, &["person", "add", "ada"]).await.out;
    let ada = ada.trim();
    let arguments = json!({"text": "a"});
    let first = ask(&client, modern(&arguments, json!({}))).await;
    let result = &first["result"];
    assert_eq!(result["resultType"], "input_required", "{first}");
    let asked = &result["inputRequests"]["approval"];
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["mode"], "url");
    let url = text(&asked["params"], "url").to_owned();
    let id = url.rsplit('/').next().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:") && id.starts_with("approval_"));
    let state = text(result, "requestState").to_owned();
    let accept = json!({"approval": {"action": "accept", "content": {"approve": true}}});
    let again = |arguments: &Value, state: &str, responses: &Value| {
        modern(
            arguments,
            json!({"requestState": state, "inputResponses": responses}),
        )
    };
    // Touched, for other arguments, of another agent: no state at all.
    let touched = format!("{state}x");
    for (client, arguments, state) in [
        (&client, &arguments, touched.as_str()),
        (&client, &json!({"text": "b"}), state.as_str()),
        (&other, &arguments, state.as_str()),
    ] {
        let answer = ask(client, again(arguments, state, &accept)).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    // The page was shown, and refused: that is what the client says, and nothing was approved.
    let declined = json!({"approval": {"action": "decline"}});
    let waits = ask(&client, again(&arguments, &state, &declined)).await;
    let told = &waits["result"]["_meta"]["dev.tollgate/refusal"];
    assert_eq!(told["code"], "approval_required", "{waits}");
    assert_eq!(text(told, "approvalUrl"), url);
    // Once, and not again.
    let replayed = ask(&client, again(&arguments, &state, &accept)).await;
    assert_eq!(replayed["error"]["code"], -32602, "{replayed}");
    // A state of its own round, and the person answers while the client waits.
    let second = ask(&client, modern(&arguments, json!({}))).await;
    let state = text(&second["result"], "requestState").to_owned();
    let waiting = ask(&client, again(&arguments, &state, &accept));
    let approve = ["approvals", "approve", &id];
    let approving = run_as(&home, ada, &approve);
    let (done, approved) = tokio::join!(waiting, approving);
    assert_eq!(approved.code, 0, "{approved:?}");
    assert_eq!(done["result"]["isError"], false, "{done}");
    // A client that can't open pages gets the typed result, a form or not.
    let mut form = modern(&arguments, json!({}));
    form["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"elicitation": {"form": {}}});
    let held = ask(&client, form).await;
    assert_eq!(
        held["result"]["_meta"]["dev.tollgate/refusal"]["code"],
        "approval_required"
    );
}

#[tokio::test]
async fn a_session_of_an_older_client_shows_the_page_within_the_call() {
    let toml = format!("{TOML}[admin]\nlisten = \"127.0.0.1:0\"\n");
    let (_folder, home) = Setup::probe_under(POLICY).toml(&toml).make().await;
    let daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    let ada = run(&home, &["person", "add", "ada"]).await.out;
    let mut client = Pipe::spawn(&home, "alice");
    let hello = json!({
        "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {"url": {}}},
        "clientInfo": {"name": "test", "version": "1"},
    });
    client.request("initialize", hello).await;
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    for (action, approve, code) in [
        ("decline", false, json!("approval_required")),
        ("accept", true, Value::Null),
    ] {
        let call = json!({"name": "probe_echo", "arguments": {"text": "a"}});
        let call = client.ask("tools/call", call).await;
        let asked = loop {
            let message = client.receive().await.expect("a request");
            if message["method"] == "elicitation/create" {
                break message;
            }
        };
        assert_eq!(asked["params"]["mode"], "url", "{asked}");
        let url = text(&asked["params"], "url").to_owned();
        if approve {
            let id = url.rsplit('/').next().unwrap();
            let said = run_as(&home, ada.trim(), &["approvals", "approve", id]).await;
            assert_eq!(said.code, 0, "{said:?}");
        }
        client
            .send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": action}}))
            .await;
        let answer = client.answer(call).await;
        assert_eq!(
            answer["result"]["_meta"]["dev.tollgate/refusal"]["code"], code,
            "{answer}"
        );
    }
    assert!(client.rest().await.1.success());
}

#[tokio::test]
async fn check_says_what_it_means_that_agents_run_as_this_user() {
    let (_folder, home) = Setup::empty().make().await;
    let mut daemon = Daemon::start(&home).await;
    let quiet = run(&home, &["check"]).await;
    assert!(!quiet.err.contains("approve its own calls"), "{quiet:?}");
    let ada = run(&home, &["person", "add", "ada"]).await.out;
    let loud = run(&home, &["check"]).await;
    assert!(loud.err.contains("approve its own calls"), "{loud:?}");
    let louder = run_as(&home, ada.trim(), &["check"]).await;
    assert!(louder.out.contains("TOLLGATE_PERSON_TOKEN"), "{louder:?}");
    daemon.stop().await;
}
