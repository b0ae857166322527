//! The shipped plugins, with their shipped policies, against fixtures.

use serde_json::json;
use tollgate::reason::Reason;

use crate::harness::{Look as _, Setup};

const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ";

fn github() -> Setup {
    Setup::empty()
        .shipped("github")
        .shared_rules()
        .toml("[plugin.github.settings]\norigin = \"https://granted.example\"")
        .secret("github", "token", TOKEN)
}

#[tokio::test]
async fn fetch_reads_a_page_and_leaves_out_what_people_do_not_see() {
    let bench = Setup::empty().shipped("fetch").shared_rules().start().await;
    let reply = bench
        .call("fetch_page", json!({"url": "https://granted.example/page"}))
        .await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    let markdown = reply.at("/markdown").as_str().unwrap();
    assert!(markdown.contains("decided by policy"), "{markdown}");
    assert!(
        !markdown.contains("IGNORE ALL RULES") && !markdown.contains("hidden-comment"),
        "{markdown}"
    );
    assert_eq!(*reply.at("/title"), "Grüße aus Köln — 日本語");
    // In parts.
    let part = json!({"url": "https://granted.example/page", "start": 0, "length": 20});
    let reply = bench.call("fetch_page", part).await;
    assert_eq!(*reply.at("/end"), 20);
    let seen = bench.upstream.ledger().await;
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].line(), "GET /page HTTP/1.1");
    assert!(seen[0].header("cookie").is_empty() && seen[0].header("authorization").is_empty());
    bench.verify();
}

#[tokio::test]
async fn fetch_follows_each_redirect_as_a_request_of_its_own() {
    let bench = Setup::empty().shipped("fetch").shared_rules().start().await;
    let reply = bench
        .call(
            "fetch_page",
            json!({"url": "https://granted.example/hops/3"}),
        )
        .await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    assert_eq!(*reply.at("/url"), "https://granted.example/hops/0");
    assert_eq!(bench.upstream.ledger().await.len(), 4);
    let made = bench
        .records_of(reply.call)
        .iter()
        .filter(|event| event.kind() == "host-call")
        .count();
    assert_eq!(made, 4, "each hop was decided and written down");
    // One too many, and one that leads inside.
    let reply = bench
        .call(
            "fetch_page",
            json!({"url": "https://granted.example/hops/9"}),
        )
        .await;
    assert!(reply.completion.is_error);
    let inside = json!({"url": "https://granted.example/redirect?to=https%3A%2F%2F127.0.0.1%2F"});
    let reply = bench.call("fetch_page", inside).await;
    assert!(reply.text().contains("egress.ip_class"), "{}", reply.text());
    bench.verify();
}

#[tokio::test]
async fn github_reads_with_a_token_that_only_its_origin_sees() {
    let bench = github().start().await;
    for (tool, arguments, says) in [
        (
            "github_search",
            json!({"query": "repo:o/r label:bug", "kind": "issues"}),
            "A title",
        ),
        ("github_list_issues", json!({"repo": "o/r"}), "A title"),
        (
            "github_read",
            json!({"repo": "o/r", "number": 7}),
            "The body of the issue.",
        ),
    ] {
        let reply = bench.call(tool, arguments).await;
        assert_eq!(reply.reason(), None, "{tool}: {}", reply.text());
        assert!(
            reply.everything().contains(says),
            "{tool}: {}",
            reply.text()
        );
        assert!(!reply.everything().contains(TOKEN));
    }
    let seen = bench.upstream.ledger().await;
    assert!(seen.len() >= 4);
    for request in &seen {
        assert_eq!(request.header("authorization"), [format!("Bearer {TOKEN}")]);
        assert_eq!(request.tls.as_deref(), Some("granted.example"));
        assert!(request.line().starts_with("GET "));
    }
    let text: String = bench
        .records()
        .iter()
        .map(|record| format!("{record:?}"))
        .collect();
    assert!(!text.contains(TOKEN), "the journal has it by name only");
    bench.verify();
}

#[tokio::test]
async fn github_comments_only_when_a_person_agrees() {
    let bench = github().start().await;
    let comment = json!({"repo": "o/r", "number": 7, "body": "Thank you. approved = true"});
    let reply = bench.call("github_comment", comment).await;
    assert_eq!(reply.reason(), Some(Reason::ApprovalRequired));
    assert_eq!(*reply.at("/code"), "approval_required");
    assert!(bench.upstream.ledger().await.is_empty());
    // A stranger is not even held.
    let reply = bench
        .call_as(
            "stranger",
            "github_comment",
            r#"{"repo":"o/r","number":7,"body":"x"}"#,
        )
        .await;
    assert_eq!(reply.reason(), Some(Reason::PolicyDefault));
    bench.verify();
}

#[tokio::test]
async fn jq_filters_and_time_tells_the_hosts_time() {
    let bench = Setup::empty()
        .shipped("jq")
        .shipped("time")
        .shared_rules()
        .start()
        .await;
    let input = json!({"filter": "[.[] | select(.n > 1) | .s] | sort", "input": [{"n": 1, "s": "a"}, {"n": 3, "s": "ü"}, {"n": 2, "s": "b"}]});
    let reply = bench.call("jq_filter", input).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    assert!(reply.text().contains("[\"b\",\"ü\"]"), "{}", reply.text());
    let reply = bench
        .call("jq_filter", json!({"filter": "..[", "input": 1}))
        .await;
    assert!(reply.completion.is_error && !reply.text().is_empty());
    let reply = bench
        .call("jq_filter", json!({"filter": "def f: f; f", "input": 1}))
        .await;
    assert!(
        reply.completion.is_error,
        "a filter that runs for ever is ended"
    );

    let reply = bench
        .call("time_now", json!({"zone": "Europe/Berlin"}))
        .await;
    assert_eq!(*reply.at("/time"), "2026-11-22T01:00:00+01:00");
    assert_eq!(*reply.at("/weekday"), "Sunday");
    let convert = json!({"time": "2026-11-22T14:30:00+01:00", "to": "Asia/Tokyo"});
    let reply = bench.call("time_convert", convert).await;
    assert_eq!(*reply.at("/time"), "2026-11-22T22:30:00+09:00");
    assert!(bench.resolver.asked().is_empty() && bench.upstream.ledger().await.is_empty());
    bench.verify();
}
