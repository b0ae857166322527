//! What the project is for, told with the real program: its own commands, a client over HTTP, a server
//! that keeps a ledger, and OpenBao.

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::home::Home;

use crate::harness::binary::{Daemon, run, run_as};
use crate::harness::served::code;
use crate::harness::{Setup, assert_verifies};
use crate::leases::works::{Works, none_listed};
use crate::upstream::Upstream;

/// `alice` reads alone and writes after a person agreed; `bob` may not send at all.
const POLICY: &str = r#"
@id("echo")
permit (principal in Group::"everyone", action == Action::"call:probe.echo", resource);
@id("alice.reads")
permit (principal == Agent::"spiffe://tollgate.local/agent/alice", action == Action::"call:probe.send", resource)
when { context.args.method == "GET" };
@id("alice.writes")
permit (principal == Agent::"spiffe://tollgate.local/agent/alice", action == Action::"call:probe.send", resource)
when { context.approved };
@id("requests")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource);
"#;

struct Story {
    upstream: Upstream,
    daemon: Daemon,
    home: Home,
    _folder: TempDir,
}

impl Story {
    async fn begin(more: &str) -> Self {
        let upstream = Upstream::start().await;
        let setup = Setup::probe_at(&upstream.origin(), POLICY)
            .shared_rules()
            .toml(more);
        let (folder, home) = setup.make().await;
        Self {
            upstream,
            daemon: Daemon::start(&home).await,
            home,
            _folder: folder,
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        let url = format!("http://{}{path}", self.upstream.plain);
        let mut arguments = json!({"requirement": "api", "method": method, "url": url});
        if let Some(body) = body {
            arguments["body"] = json!(body);
        }
        arguments
    }

    /// What `token`'s call is answered: `ok`, or why not.
    async fn code(&self, token: &str, tool: &str, arguments: &Value) -> String {
        self.code_with(&[], token, tool, arguments).await
    }

    async fn code_with(
        &self,
        headers: &[(&str, &str)],
        token: &str,
        tool: &str,
        arguments: &Value,
    ) -> String {
        let params = json!({"name": tool, "arguments": arguments});
        let client = self.daemon.client(token);
        let answer = client.request_with(headers, "tools/call", params).await;
        code(&answer.unwrap())
    }

    /// A command that succeeds; what it printed.
    async fn run(&self, arguments: &[&str]) -> String {
        let said = run(&self.home, arguments).await;
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.out.trim().to_owned()
    }

    async fn sent(&self) -> Vec<String> {
        let seen = self.upstream.ledger().await;
        seen.iter().map(crate::upstream::Seen::line).collect()
    }

    async fn end(mut self) {
        self.run(&["audit", "verify"]).await;
        self.daemon.stop().await;
        assert_verifies(&self.home.journal());
    }
}

#[tokio::test]
async fn an_agent_with_no_task_is_refused_and_its_rights_end_with_the_task() {
    let story = Story::begin("[tasks]\nrequired = true").await;
    let alice = story.daemon.agent("alice").await;
    let read = story.send("GET", "/read", None);
    assert_eq!(
        story.code(&alice, "probe_send", &read).await,
        "task.required"
    );
    assert!(story.sent().await.is_empty());
    let words = [
        "task", "start", "--agent", "alice", "--intent", "to read", "--tool",
    ];
    let task = story.run(&[&words[..], &["probe.send"]].concat()).await;
    assert_eq!(story.code(&alice, "probe_send", &read).await, "ok");
    let echo = json!({"text": "x"});
    assert_eq!(story.code(&alice, "probe_echo", &echo).await, "task.tool");
    story.run(&["task", "end", &task]).await;
    let after = story.code(&alice, "probe_send", &read).await;
    assert_eq!(after, "task.required");
    assert_eq!(story.sent().await, ["GET /read HTTP/1.1"]);
    story.end().await;
}

#[tokio::test]
async fn reads_run_alone_and_a_write_runs_once_after_a_person_agreed_to_exactly_it() {
    let story = Story::begin("").await;
    let alice = story.daemon.agent("alice").await;
    let ada = story.run(&["person", "add", "ada"]).await;
    let read = story.send("GET", "/read", None);
    for _ in 0..2 {
        assert_eq!(story.code(&alice, "probe_send", &read).await, "ok");
    }
    let (write, other) = (
        story.send("POST", "/write", Some("to Ada")),
        story.send("POST", "/write", Some("to Eve")),
    );
    let held = story.daemon.client(&alice).call("probe_send", &write).await;
    let told = &held["_meta"]["dev.tollgate/refusal"];
    assert_eq!(told["code"], "approval_required", "{held}");
    let id = told["approvalId"].as_str().unwrap();
    assert_eq!(story.sent().await.len(), 2, "nothing was written yet");
    // The agent's own credential agrees to nothing.
    let refused = run_as(&story.home, &alice, &["approvals", "approve", id]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    let shown = run_as(&story.home, &ada, &["approvals", "show", id]).await;
    for part in ["probe.send", "POST", "/write", "to Ada", "alice.writes"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let yes = run_as(&story.home, &ada, &["approvals", "approve", id]).await;
    assert_eq!(yes.code, 0, "{yes:?}");
    let changed = story.code(&alice, "probe_send", &other).await;
    assert_eq!(changed, "approval_required", "nobody agreed to this");
    assert_eq!(story.code(&alice, "probe_send", &write).await, "ok");
    let again = story.code(&alice, "probe_send", &write).await;
    assert_eq!(again, "approval_required", "once");
    let seen = story.upstream.ledger().await;
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].body(), "to Ada");
    story.end().await;
}

#[tokio::test]
async fn a_hand_off_widens_nothing() {
    let story = Story::begin("").await;
    let (alice, bob) = (
        story.daemon.agent("alice").await,
        story.daemon.agent("bob").await,
    );
    let words = ["token", "handoff", "--agent", "alice", "--to", "bob"];
    let handoff = story.run(&words).await;
    let beside = [("tollgate-handoff", handoff.as_str())];
    let (read, echo) = (story.send("GET", "/read", None), json!({"text": "x"}));
    assert_eq!(story.code(&alice, "probe_send", &read).await, "ok");
    let handed = |tool: &'static str, arguments: Value| {
        let (story, bob) = (&story, &bob);
        async move { story.code_with(&beside, bob, tool, &arguments).await }
    };
    // What both may do, and not what one of them may.
    assert_eq!(handed("probe_echo", echo).await, "ok");
    assert_eq!(handed("probe_send", read).await, "policy.default_deny");
    assert_eq!(story.sent().await.len(), 1);
    story.end().await;
}

#[tokio::test]
async fn a_revoked_agents_running_call_dies() {
    let story = Story::begin("").await;
    let alice = story.daemon.agent("alice").await;
    let (client, held) = (
        story.daemon.client(&alice),
        story.send("GET", "/hold", None),
    );
    let running = tokio::spawn(async move { client.call("probe_send", &held).await });
    story.upstream.arrived(1).await;
    story.run(&["revoke", "agent", "alice"]).await;
    let ended = running.await.unwrap();
    assert_eq!(
        ended["_meta"]["dev.tollgate/refusal"]["code"], "revoked.agent",
        "{ended}"
    );
    story.upstream.closed().await;
    let read = story.send("GET", "/read", None);
    assert_eq!(story.code(&alice, "probe_send", &read).await, "http 401");
    story.end().await;
}

#[tokio::test]
async fn a_lease_appears_upstream_and_is_dead_after_the_call() {
    let works = Works::start("").await;
    let (_folder, home, mut daemon, token) = works.daemon().await;
    let call = works.begin(&daemon, &token).await;
    // Made for this call alone: a token of OpenBao's, and with it a worker at the queue.
    assert_eq!(
        (works.bao.children().await.len(), works.queue.users()),
        (1, 1)
    );
    works.queue.release();
    let reply = call.await.unwrap().unwrap();
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    works.empty().await;
    none_listed(&home).await;
    daemon.stop().await;
    assert_verifies(&home.journal());
}
