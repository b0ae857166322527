//! Policies: decided per call and per host call, swapped whole, and never lost to a broken file.

use serde_json::json;
use tollgate::approval::{Answer, ApprovalEvent, Status};
use tollgate::host::Refreshed;
use tollgate::journal::record::Event;
use tollgate::policy::Severity;
use tollgate::reason::Reason;

use crate::harness::binary::{Daemon, run};
use crate::harness::{Look as _, PROBE_POLICY, Setup, known, records};
use crate::upstream::Upstream;

const FORBIDS: &str = "@id(\"probe.closed\")\nforbid (principal, action, resource);\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn a_reload_is_swapped_whole_and_a_broken_one_changes_nothing() {
    let _row = crate::attacks::stands_for("C09");
    let bench = Setup::probe().start().await;
    let open = bench.host.policy().digest();
    let file = bench.policy_file("probe");

    // A broken line: the last good set stays, and the finding names the file and the line.
    let before = bench.records().len();
    std::fs::write(
        &file,
        format!("{PROBE_POLICY}\npermit (principal, action,\n"),
    )
    .unwrap();
    let found = bench.refresh().await;
    let error = found
        .findings
        .iter()
        .find(|finding| finding.severity == Severity::Error)
        .expect("a finding");
    assert_eq!(error.file, "policies/probe.cedar");
    assert!(error.line > 1, "{error:?}");
    assert_eq!(bench.echo().await, None);
    let rejected: Vec<_> = bench
        .changes_since(before)
        .into_iter()
        .filter(|change| change.change == "policy.rejected")
        .collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason, Some(Reason::PolicyError));

    // Half of a file, as an editor leaves it for a moment.
    for end in [PROBE_POLICY.len() / 3, PROBE_POLICY.len() / 2] {
        std::fs::write(&file, &PROBE_POLICY[..end]).unwrap();
        let found = bench.refresh().await;
        if found
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
        {
            assert_eq!(bench.echo().await, None);
        }
    }

    // Another good set, while calls are being decided: each record agrees with the set that it names.
    std::fs::write(&file, FORBIDS).unwrap();
    bench.refresh().await;
    let closed = bench.host.policy().digest();
    assert_ne!(open, closed);
    let host = bench.host.clone();
    let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
    let path = file.clone();
    let reloads = tokio::spawn(async move {
        for turn in 0.. {
            std::fs::write(&path, if turn % 2 == 0 { PROBE_POLICY } else { FORBIDS }).unwrap();
            host.refresh().await;
            if ended.try_recv().is_ok() {
                return;
            }
        }
    });
    let mut calls = Vec::new();
    for turn in 0..60 {
        let agent = if turn % 2 == 0 { "alice" } else { "bob" };
        calls.push(
            bench
                .call_as(agent, "probe_echo", r#"{"text":"x"}"#)
                .await
                .call,
        );
    }
    end.send(()).unwrap();
    reloads.await.unwrap();
    for call in calls {
        match bench.records_of(call).first().unwrap() {
            Event::Intent(intent) => assert_eq!(intent.decision.set, open),
            Event::Refusal(refused) if refused.reason == Reason::PolicyForbidden => {
                assert_eq!(refused.decision.as_ref().unwrap().set, closed);
            }
            Event::Refusal(refused) => assert_eq!(refused.reason, Reason::LimitBreaker),
            other => panic!("{other:?}"),
        }
    }
    bench.verify();
}

#[tokio::test]
async fn what_needs_a_restart_is_said_until_there_is_one_and_what_is_wrong_has_its_line() {
    let bench = Setup::probe().start().await;
    let config = bench.host.home().config();
    let text = std::fs::read_to_string(&config).unwrap();
    let line = text.lines().count() + 1;
    let found = |refreshed: &Refreshed| {
        refreshed
            .findings
            .iter()
            .filter(|finding| finding.file == "tollgate.toml")
            .map(|finding| (finding.severity, finding.line, finding.message.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&bench.refresh().await), []);
    let always = format!("{text}[journal]\nsync = \"always\"\n");
    std::fs::write(&config, &always).unwrap();
    for _ in 0..2 {
        let said = found(&bench.refresh().await);
        let [(Severity::Warning, at, message)] = said.as_slice() else {
            panic!("one warning: {said:?}");
        };
        assert_eq!(*at, line);
        assert!(message.contains("`journal`") && message.contains("restart"));
    }
    let bench = bench.restart().await;
    assert_eq!(found(&bench.refresh().await), []);
    std::fs::write(&config, format!("{text}[limits]\nfuel = 0\n")).unwrap();
    let said = found(&bench.refresh().await);
    assert!(
        matches!(said.as_slice(), [(Severity::Error, at, _)] if *at == line + 1),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_broken_file_from_the_start_refuses_its_plugin_and_no_other() {
    let bench = Setup::probe_under("permit (principal, action, resource)")
        .shipped("jq")
        .start()
        .await;
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::PolicyError));
    let reply = bench
        .call("jq_filter", json!({"filter": ".a", "input": {"a": 1}}))
        .await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    // Mended, without a restart.
    std::fs::write(bench.policy_file("probe"), PROBE_POLICY).unwrap();
    bench.refresh().await;
    assert_eq!(bench.echo().await, None);
}

#[tokio::test]
async fn a_plugins_file_can_not_reach_beyond_its_plugin() {
    let bench = Setup::probe_under("").shipped("jq").start().await;
    let reaching = "permit (principal, action, resource);\n";
    std::fs::write(bench.policy_file("jq"), reaching).unwrap();
    bench.refresh().await;
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::PolicyDefault));
    let reply = bench.call("jq_filter", json!({"filter": "."})).await;
    assert_ne!(reply.reason(), Some(Reason::PolicyForbidden));
}

#[tokio::test]
async fn every_host_call_is_decided_for_itself() {
    let policy = r#"
@id("calls") permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"probe");
@id("reads") permit (principal in Group::"everyone", action == Action::"http:probe.send", resource == Origin::"https://granted.example")
when { context.method == "GET" && context.path like "/open/*" && context.body_bytes == 0 && context.http_calls < 3 };
@id("not-this-one") forbid (principal, action == Action::"http:probe.send", resource) when { context.path == "/open/closed" };
"#;
    let bench = Setup::probe_under(policy).start().await;
    let send = |method: &str, path: &str, repeat: u32| json!({"requirement": "api", "method": method, "url": format!("https://granted.example{path}"), "repeat": repeat});
    let reply = bench.call("probe_send", send("GET", "/open/a", 5)).await;
    let expected = json!([
        "ok",
        "ok",
        "ok",
        "policy.default_deny",
        "policy.default_deny"
    ]);
    assert_eq!(*reply.at("/reasons"), expected);
    for (method, path, reason) in [
        ("POST", "/open/a", "policy.default_deny"),
        ("GET", "/elsewhere", "policy.default_deny"),
        ("GET", "/open/closed", "policy.forbidden"),
        ("GET", "/open/../elsewhere", "policy.default_deny"),
    ] {
        let reply = bench.call("probe_send", send(method, path, 1)).await;
        assert_eq!(*reply.at("/reason"), reason, "{method} {path}");
        let events = bench.records_of(reply.call);
        let refused = events.iter().find_map(|event| match event {
            Event::Refusal(refused) => Some(refused),
            _ => None,
        });
        let ground = refused.unwrap().decision.as_ref().expect("a decision");
        assert_eq!(
            ground
                .policies
                .iter()
                .any(|policy| policy.id == "not-this-one"),
            reason == "policy.forbidden"
        );
    }
    assert_eq!(bench.upstream.ledger().await.len(), 3);
    // Tightened in the middle of the work: the next host call is decided by the new rules.
    bench.verify();
}

#[tokio::test]
async fn rules_that_change_while_a_call_runs_hold_from_its_next_host_call_on() {
    let bench = Setup::probe().start().await;
    let send = json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hold", "repeat": 2});
    let running = bench.spawn("alice", "probe_send", send);
    bench.upstream.arrived(1).await;
    std::fs::write(bench.policy_file("probe"), FORBIDS).unwrap();
    bench.refresh().await;
    bench.upstream.release();
    let reply = running.reply().await;
    assert_eq!(*reply.at("/reasons"), json!(["ok", "policy.forbidden"]));
    assert_eq!(bench.upstream.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_private_network_is_reached_only_where_policy_names_it() {
    let connect = r#"permit (principal in Group::"everyone", action == Action::"connect:probe.send", resource)
        when { context.address.isInRange(ip("10.0.0.0/8")) || context.address.isInRange(ip("169.254.0.0/16")) };"#;
    let bench = Setup::probe_under(&format!("{PROBE_POLICY}{connect}"))
        .shared_rules()
        .start()
        .await;
    let send = |requirement: &str, host: &str| json!({"requirement": requirement, "method": "GET", "url": format!("https://{host}/hello")});
    for (address, requirement, reason) in [
        ("10.0.0.5", "api", None),
        ("192.168.0.5", "api", Some("egress.ip_class")),
        // The shared rules keep the addresses of cloud metadata closed, whatever a plugin's file opens.
        ("169.254.169.254", "api", Some("egress.ip_class")),
        // Under a grant of any public origin no policy opens a network.
        ("10.0.0.5", "open", Some("egress.ip_class")),
    ] {
        bench.resolver.answer("granted.example", [[address]]);
        let reply = bench
            .call("probe_send", send(requirement, "granted.example"))
            .await;
        assert_eq!(
            reply.at("/reason").as_str(),
            reason,
            "{address} under `{requirement}`"
        );
    }
    assert_eq!(bench.upstream.ledger().await.len(), 1);
    assert_eq!(bench.connector.dialled(), ["10.0.0.5:443".parse().unwrap()]);
    bench.verify();
}

/// A08. What a call would come to is told without any of it being done: to whoever asks policy, and to
/// the person whom a held request waits for.
#[tokio::test]
pub(crate) async fn a_preview_does_nothing_of_what_it_shows() {
    let _row = crate::attacks::stands_for("A08");
    let upstream = Upstream::start().await;
    let (_folder, home) = crate::journal::local(&upstream).make().await;
    known(&home, &["alice"]);
    let url = format!("http://{}/echo", upstream.plain);
    let post = json!({"requirement": "api", "method": "POST", "url": url, "body": "abc"});
    let (arguments, request) = (post.to_string(), format!("POST {url}"));
    let asked = [
        ["policy", "explain", "probe_send", arguments.as_str()],
        ["--agent", "alice", "--host-call", request.as_str()],
    ]
    .concat();
    let told = run(&home, &asked).await;
    assert_eq!(told.code, 0, "both would be allowed: {told:?}");
    let mut daemon = Daemon::start(&home).await;
    let before = records(&home.journal()).len();
    let told = run(&home, &asked).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(upstream.ledger().await.len(), 0);
    assert_eq!(records(&home.journal()).len(), before);
    // It would have arrived.
    let call = ["call", "probe.send", &arguments, "--agent", "alice"];
    let sent = run(&home, &call).await;
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(upstream.ledger().await.len(), 1);
    daemon.stop().await;

    let held = PROBE_POLICY.to_owned()
        + "@id(\"asks\") forbid (principal, action in Action::\"http\", resource) when { !context.approved };";
    let bench = Setup::probe_under(&held).shared_rules().start().await;
    let mut events = bench.host.approvals().events();
    let granted = json!({"requirement": "api", "method": "POST", "url": "https://granted.example/echo", "body": "abc"});
    let parked = bench.spawn("alice", "probe_send", granted);
    let Ok(ApprovalEvent::Asked(shown)) = events.recv().await else {
        panic!("nobody was asked");
    };
    assert_eq!(shown.summary.effect, "POST https://granted.example/echo");
    assert_eq!(shown.summary.body.as_ref().unwrap().text, "abc");
    assert!(bench.resolver.asked().is_empty(), "not even looked up");
    assert!(bench.connector.dialled().is_empty());
    let written: Vec<_> = bench
        .records_of(shown.call)
        .iter()
        .map(Event::kind)
        .collect();
    assert_eq!(
        written,
        ["intent", "approval-asked"],
        "no effect has its record"
    );
    parked.cancel.cancel();
    assert_eq!(parked.reply().await.reason(), Some(Reason::CallCancelled));
    assert!(bench.upstream.ledger().await.is_empty());
    bench.verify();
}

/// Who may agree can be bound to the task, as it is when the person answers.
#[tokio::test]
async fn a_person_may_be_let_agree_only_within_a_task() {
    let bench = Setup::probe_under(
        r#"
@id("asks")
permit (principal, action in Action::"call", resource in Plugin::"probe") when { context.approved };
"#,
    )
    .policy(
        "shared",
        r#"
@id("trying")
permit (principal in Group::"approvers", action in Action::"approve", resource)
when { context has task && context.task.intent == "to try it" };
"#,
    )
    .start()
    .await;
    let person = "ada".parse().unwrap();
    let issued = bench.host.people().add(&person, false, None).unwrap();
    let ada = bench
        .host
        .people()
        .authenticate(issued.token.expose())
        .unwrap();
    let answer = async |text: &str| {
        let reply = bench.call("probe_echo", json!({"text": text})).await;
        let asked = reply.refusal.and_then(|refusal| refusal.approval);
        let id = asked.expect("held").id;
        let yes = Answer::Approve { standing: None };
        let answered = bench.host.approvals().answer(id, &ada, yes).await;
        answered.map(|a| a.status).map_err(|refusal| refusal.reason)
    };
    assert_eq!(answer("on none").await, Err(Reason::PolicyDefault));
    let task = crate::tasks::task("alice", &["probe.echo"]);
    bench.host.start_task(task).await.unwrap();
    assert_eq!(answer("on it").await, Ok(Status::Approved));
}
