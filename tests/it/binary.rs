//! The commands of the real program.

use serde_json::{Value, json};
use tollgate::clock::SystemClock;
use tollgate::digest::Digest;
use tollgate::journal::OpenError;
use tollgate::journal::record::Event;

use crate::harness::binary::{Daemon, run, run_with};
use crate::harness::{Setup, assert_verifies, intents, misfit, place, records};
use crate::journal::local;
use crate::upstream::Upstream;

#[tokio::test]
pub(crate) async fn a_proxy_that_the_environment_names_is_never_dialled() {
    let _row = crate::attacks::stands_for("S28");
    let upstream = Upstream::start().await;
    let (_folder, home) = local(&upstream).make().await;
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let names = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ];
    let environment: Vec<(&str, &str)> = names.iter().map(|name| (*name, url.as_str())).collect();
    let mut daemon = Daemon::start_with(&home, &environment).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let send = json!({"requirement": "api", "method": "GET", "url": format!("http://{}/hello", upstream.plain)});
    let result = client.call("probe_send", &send).await;
    assert_eq!(result["structuredContent"]["status"], 200, "{result}");
    assert_eq!(upstream.ledger().await.len(), 1);
    let dialled = proxy.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(
        dialled,
        Err(std::io::ErrorKind::WouldBlock),
        "nobody came to the proxy"
    );
    daemon.stop().await;
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn a_plugin_that_is_still_being_compiled_is_not_taken_for_a_missing_one() {
    let (_folder, home) = Setup::probe().shipped("jq").make().await;
    let file = home.plugins().join("jq.wasm");
    let digest = Digest::of(&std::fs::read(&file).unwrap()).hex();
    for entry in std::fs::read_dir(home.artifacts()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains(&digest) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut daemon = Daemon::start(&home).await;
    let said = daemon.said();
    assert!(said.contains("still loading jq.wasm"), "{said}");
    let missed = "no plugin `jq` serves";
    assert!(!said.contains(missed), "{said}");
    // One that is gone is missed.
    std::fs::remove_file(&file).unwrap();
    let said = run(&home, &["reload"]).await;
    assert!(said.out.contains(missed), "{said:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_from_a_terminal_takes_the_same_way_and_its_exit_code_says_how_it_ended() {
    let (_folder, home) = Setup::probe().make().await;
    let daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    for (tool, arguments, code) in [
        ("probe_echo", r#"{"text":"Grüße"}"#, 0),
        ("probe.echo", r#"{"text":"x"}"#, 0),
        ("probe_fail", r#"{"how":"is_error","message":"x"}"#, 1),
        ("probe_panic", r#"{"message":"x"}"#, 1),
        ("probe_echo", r#"{"text":"x","text":"y"}"#, 3),
        ("probe_echo", r#"{"other":1}"#, 3),
        ("probe_nothing", "{}", 3),
    ] {
        let said = run(&home, &["call", tool, arguments]).await;
        assert_eq!(said.code, code, "{tool} {arguments}: {said:?}");
    }
    let said = run_with(
        &home,
        &["--format", "json", "call", "probe_echo", "-"],
        r#"{"text":"from a pipe"}"#,
    )
    .await;
    assert!(
        said.lines()[0].to_string().contains("from a pipe"),
        "{said:?}"
    );
    std::fs::write(
        home.policies().join("probe.cedar"),
        "forbid (principal, action, resource);",
    )
    .unwrap();
    assert_eq!(run(&home, &["reload"]).await.code, 0);
    let said = run(&home, &["call", "probe_echo", r#"{"text":"x"}"#]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("policy.forbidden") || said.out.contains("policy.forbidden"),
        "{said:?}"
    );
    let by_cli = records(&home.journal())
        .iter()
        .filter_map(|record| record.event.caller().cloned())
        .all(|caller| caller.transport == "cli");
    assert!(by_cli);
}

#[tokio::test]
async fn a_replaced_plugin_serves_once_it_is_accepted() {
    let policy = "permit (principal, action in Action::\"call\", resource in Plugin::\"guest\");";
    let (_folder, home) = Setup::probe()
        .bytes("guest", misfit("plain"))
        .policy("guest", policy)
        .make()
        .await;
    let mut daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let (old, new) = (Digest::of(&misfit("plain")), Digest::of(&misfit("chatty")));
    client.call("guest_act", &json!({})).await;
    place(&home.plugins().join("guest.wasm"), &misfit("chatty"));
    run(&home, &["reload"]).await;
    let listed = run(&home, &["plugins"]).await;
    assert!(
        listed.out.contains("guest") && listed.out.contains("accept"),
        "{listed:?}"
    );
    client.call("guest_act", &json!({})).await;
    let accepted = run(&home, &["plugins", "accept", "guest", "--yes"]).await;
    assert_eq!(accepted.code, 0, "{accepted:?}");
    client.call("guest_act", &json!({})).await;
    daemon.stop().await;
    let ran: Vec<Digest> = intents(records(&home.journal()))
        .into_iter()
        .map(|intent| intent.plugin)
        .collect();
    assert_eq!(
        ran,
        [old, old, new],
        "the old one until it was accepted, the new one from then on"
    );
    assert!(records(&home.journal()).iter().any(|record| {
        matches!(&record.event, Event::Changed(changed) if changed.change == "plugin.accepted" && changed.digest == Some(new))
    }));
}

#[tokio::test]
async fn a_call_under_way_ends_on_the_old_plugin_while_the_new_one_is_accepted() {
    let upstream = Upstream::start().await;
    let (_folder, home) = local(&upstream).make().await;
    let mut daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let asking = client.clone();
    let held = json!({"requirement": "api", "method": "GET", "url": format!("http://{}/hold", upstream.plain)});
    let under_way = tokio::spawn(async move { asking.call("probe_send", &held).await });
    upstream.arrived(1).await;
    place(&home.plugins().join("probe.wasm"), &misfit("plain"));
    run(&home, &["reload"]).await;
    assert_eq!(
        run(&home, &["plugins", "accept", "probe", "--yes"])
            .await
            .code,
        0
    );
    run(&home, &["reload"]).await;
    upstream.release();
    let result = under_way.await.unwrap();
    assert_eq!(result["structuredContent"]["status"], 200, "{result}");
    let listed = client
        .request("tools/list", json!({}))
        .await
        .unwrap()
        .messages();
    assert!(
        !listed[0].to_string().contains("probe_send"),
        "the new one has no such tool"
    );
    daemon.stop().await;
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn what_can_not_serve_is_listed_with_its_file_and_its_cause() {
    let (_folder, home) = Setup::probe()
        .bytes("garbage", guests::crafted::garbage())
        .bytes("module", guests::crafted::core_module())
        .bytes("sockets", guests::crafted::imports_sockets())
        .bytes("twice", misfit("twice"))
        .make()
        .await;
    let daemon = Daemon::start(&home).await;
    let listed = run(&home, &["plugins"]).await;
    for (file, cause) in [
        ("garbage", "not WebAssembly"),
        ("module", "core module"),
        ("sockets", "wasi:sockets/tcp"),
        ("twice", "two tools named `act`"),
    ] {
        assert!(
            listed.out.contains(file) && listed.out.contains(cause),
            "{file}: {listed:?}"
        );
        let logged = daemon.said();
        assert!(
            logged
                .lines()
                .any(|line| line.contains(file) && line.contains(cause)),
            "{file}: {logged}"
        );
    }
    let inspected = run(&home, &["plugins", "inspect", "probe"]).await;
    assert_eq!(inspected.code, 0, "{inspected:?}");
    assert!(
        inspected.out.contains("probe_echo") || inspected.out.contains("echo"),
        "{inspected:?}"
    );
}

#[tokio::test]
async fn check_names_the_file_the_line_and_what_to_do() {
    let (_folder, home) = Setup::probe().make().await;
    let good = run(&home, &["check"]).await;
    assert_eq!(good.code, 0, "{good:?}");
    let broken = "permit (principal, action == Action::\"call:probe.echo\", resource);\n\npermit (principal, action == Action::\"call:probe.ecko\", resource);\n";
    std::fs::write(home.policies().join("probe.cedar"), broken).unwrap();
    let said = run(&home, &["check"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("policies/probe.cedar:3"), "{text}");
    // A rule that can never match is found as well.
    let never = "permit (principal, action == Action::\"http:probe.send\", resource == Origin::\"https://GRANTED.example\");\n";
    std::fs::write(home.policies().join("probe.cedar"), never).unwrap();
    let said = run(&home, &["check"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    std::fs::write(home.policies().join("probe.cedar"), "").unwrap();
    std::fs::write(
        home.config(),
        "[plugin.probe.settings]\norigin = \"https://granted.example\"\n[limits]\nfule = 1\n",
    )
    .unwrap();
    let said = run(&home, &["check"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        format!("{}{}", said.out, said.err).contains("tollgate.toml:4"),
        "{said:?}"
    );
}

#[tokio::test]
async fn explain_says_which_policies_decide_and_runs_nothing() {
    let upstream = Upstream::start().await;
    let (_folder, home) = local(&upstream).make().await;
    let daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    let explain = async |agent: &str| {
        let call = format!(
            r#"{{"requirement":"api","method":"GET","url":"http://{}/"}}"#,
            upstream.plain
        );
        run(
            &home,
            &["policy", "explain", "probe_send", &call, "--agent", agent],
        )
        .await
    };
    let said = explain("alice").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("probe.calls"), "{said:?}");
    let said = explain("stranger").await;
    assert!(
        format!("{}{}", said.out, said.err).contains("is for another principal"),
        "what would have changed it: {said:?}"
    );
    assert!(upstream.ledger().await.is_empty());
    assert!(
        records(&home.journal())
            .iter()
            .all(|record| !matches!(record.event, Event::Intent(_)))
    );
}

#[tokio::test]
async fn a_starter_policy_can_be_reviewed_and_lets_the_plugin_serve() {
    let (_folder, home) = Setup::empty().component("time", guests::TIME).make().await;
    let daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    assert_ne!(
        run(&home, &["call", "time_zones", "{}"]).await.code,
        0,
        "closed without a policy"
    );
    let printed = run(&home, &["policy", "init", "time"]).await;
    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(printed.out.contains("call:time.now"), "{printed:?}");
    assert!(
        !home.policies().join("time.cedar").exists(),
        "printed, not written"
    );
    let written = run(&home, &["policy", "init", "time", "--write"]).await;
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(
        run(&home, &["policy", "init", "time", "--write"])
            .await
            .code,
        5,
        "one that is there is left alone"
    );
    assert_eq!(run(&home, &["check"]).await.code, 0);
}

#[tokio::test]
async fn a_secret_is_set_from_a_pipe_and_shown_by_nothing() {
    const CANARY: &str = "canary-from-a-pipe-83hf7";
    let (_folder, home) = Setup::probe().make().await;
    let mut daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    let mut shown = String::new();
    for (arguments, input) in [
        (vec!["secret", "set", "probe", "token"], CANARY),
        (vec!["secret", "list"], ""),
        (vec!["--format", "json", "secret", "list"], ""),
        (vec!["check"], ""),
        (vec!["audit", "tail"], ""),
    ] {
        let said = run_with(&home, &arguments, input).await;
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        shown.push_str(&format!("{said:?}"));
    }
    let opened = client
        .call("probe_secret", &json!({"name": "token", "act": "open"}))
        .await;
    assert_eq!(opened["structuredContent"]["ok"], true, "{opened}");
    let revealed = client
        .call("probe_secret", &json!({"name": "token", "act": "reveal"}))
        .await;
    shown.push_str(&format!("{revealed}"));
    assert_eq!(
        run(&home, &["secret", "rm", "probe", "token"]).await.code,
        0
    );
    let opened = client
        .call("probe_secret", &json!({"name": "token", "act": "open"}))
        .await;
    assert_eq!(opened["structuredContent"]["reason"], "secret.not_granted");
    daemon.stop().await;
    shown.push_str(&daemon.said());
    assert!(!shown.contains(CANARY), "{shown}");
    let journal: String = records(&home.journal())
        .iter()
        .map(|record| format!("{record:?}"))
        .collect();
    assert!(!journal.contains(CANARY) && journal.contains("secret.set"));
}

#[tokio::test]
async fn audit_tells_the_story_of_a_call_and_shows_what_was_changed() {
    let (_folder, home) = Setup::probe().make().await;
    let mut daemon = Daemon::start(&home).await;
    let client = daemon.client(&daemon.agent("alice").await);
    client
        .call("probe_echo", &json!({"text": "the word"}))
        .await;
    daemon.stop().await;
    let call = records(&home.journal())
        .iter()
        .find_map(|record| record.event.call())
        .unwrap();
    let shown = run(&home, &["audit", "show", &call.to_string()]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.out.contains("probe.echo") && shown.out.contains("alice"),
        "{shown:?}"
    );
    let tail = run(&home, &["--format", "json", "audit", "tail", "-n", "100"]).await;
    let kinds: Vec<Value> = tail
        .lines()
        .iter()
        .map(|line| line["kind"].clone())
        .collect();
    assert!(
        kinds.contains(&json!("intent")) && kinds.contains(&json!("outcome")),
        "{kinds:?}"
    );
    assert_eq!(run(&home, &["audit", "verify"]).await.code, 0);
    // One letter, in the middle.
    let segment = std::fs::read_dir(home.journal())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("the word", "the sword", 1)).unwrap();
    let said = run(&home, &["audit", "verify"]).await;
    assert_eq!(said.code, 6, "{said:?}");
    assert!(
        format!("{}{}", said.out, said.err).contains("line"),
        "{said:?}"
    );
}

#[tokio::test]
pub(crate) async fn a_second_process_on_the_log_is_refused_and_changes_nothing() {
    let _row = crate::attacks::stands_for("D05");
    let (_folder, home) = Setup::probe().make().await;
    let mut daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    let before = records(&home.journal());
    let second = || run(&home, &["serve", "--listen", "127.0.0.1:0"]);
    let said = tokio::join!(second(), second(), second());
    for said in [said.0, said.1, said.2] {
        assert_eq!(said.code, 5, "{said:?}");
        assert!(said.err.contains("process"), "{said:?}");
    }
    assert_eq!(records(&home.journal()), before);
    // Whoever comes as a client shares the one that there is.
    let said = run(&home, &["call", "probe_echo", r#"{"text":"x"}"#]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let after = records(&home.journal());
    assert_eq!(intents(after.clone()).len(), 1);
    // Nor by the log alone, whatever becomes of the daemon's own lock.
    let options = tollgate::journal::Options::new(std::sync::Arc::new(SystemClock));
    let opened = tollgate::journal::Journal::open(home.journal(), options);
    assert!(matches!(opened, Err(OpenError::Locked)), "{opened:?}");
    assert_eq!(records(&home.journal()), after);
    daemon.stop().await;
    assert_verifies(&home.journal());
}
