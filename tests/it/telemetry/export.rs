//! The journal as events of the Open Cybersecurity Schema Framework.

use serde_json::{Value, json};

use super::get;
use crate::harness::binary;
use crate::harness::served::Served;
use crate::journal::local;
use crate::upstream::Upstream;

#[tokio::test]
async fn an_export_is_events_of_the_schema() {
    let upstream = Upstream::start().await;
    let setup = local(&upstream).toml("[plugin.probe.tool.echo]\ntier = \"hold\"");
    let served = Served::start(setup).await;
    let token = served.agent("alice");
    let client = served.client(&token);
    client
        .call("probe_send", &get(&upstream, "/hello?q=1"))
        .await;
    client
        .call(
            "probe_send",
            &json!({"requirement": "api", "method": "GET", "url": "https://elsewhere.example/x?y"}),
        )
        .await;
    client.call("probe_echo", &json!({"text": "x"})).await;
    let home = served.host.home().clone();
    served.host.stop().await;
    let exported = binary::run(&home, &["audit", "export", "--as", "ocsf"]).await;
    let events = exported.lines();
    // What the schema asks of every event of these classes.
    for event in &events {
        for key in [
            "activity_id",
            "category_uid",
            "class_uid",
            "metadata",
            "severity_id",
            "time",
            "type_uid",
        ] {
            assert!(!event[key].is_null(), "{key}: {event}");
        }
        let (class, activity) = (
            event["class_uid"].as_u64().unwrap(),
            event["activity_id"].as_u64().unwrap(),
        );
        assert_eq!(event["type_uid"], class * 100 + activity);
        let needed: &[&str] = match class {
            6003 => &["actor", "api", "src_endpoint"],
            6002 => &["app"],
            other => panic!("class {other}"),
        };
        for key in needed {
            assert!(event[*key].is_object(), "{key}: {event}");
        }
        assert_eq!(event["metadata"]["version"], "1.6.0");
        assert!(event["metadata"]["uid"].is_string());
    }
    let of = |operation: &str| -> Vec<&Value> {
        events
            .iter()
            .filter(|event| event["api"]["operation"] == operation)
            .collect()
    };
    let [sent] = of("http GET")[..] else {
        panic!("{events:#?}")
    };
    assert_eq!(sent["activity_name"], "Read");
    assert_eq!(sent["http_request"]["url"]["path"], "/hello");
    assert!(!sent.to_string().contains("q=1"));
    assert_eq!(sent["http_response"]["code"], 200);
    assert_eq!(sent["authorizations"][0]["policy"]["uid"], "probe.http");
    assert_eq!(
        sent["actor"]["app_uid"],
        "spiffe://tollgate.local/agent/alice"
    );
    let calls = of("probe.send");
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (&calls[0]["status"], &calls[0]["action"]),
        (&json!("Success"), &json!("Allowed"))
    );
    assert_eq!(
        calls[0]["metadata"]["correlation_uid"],
        sent["metadata"]["correlation_uid"]
    );
    let [refused] = of("http")[..] else {
        panic!("{events:#?}")
    };
    assert_eq!(
        (&refused["status_code"], &refused["disposition"]),
        (&json!("egress.host_not_granted"), &json!("Blocked"))
    );
    assert_eq!(refused["dst_endpoint"]["hostname"], "elsewhere.example");
    let [held] = of("probe.echo")[..] else {
        panic!("{events:#?}")
    };
    assert_eq!(
        (&held["action"], &held["status_id"]),
        (&json!("Held"), &json!(99))
    );
    // Of one agent, and of nobody.
    let of_alice = binary::run(
        &home,
        &["audit", "export", "--as", "ocsf", "--agent", "alice"],
    )
    .await;
    assert_eq!(of_alice.lines().len(), 5, "{}", of_alice.out);
    let of_bob = binary::run(
        &home,
        &["audit", "export", "--as", "ocsf", "--agent", "bob"],
    )
    .await;
    assert_eq!((of_bob.code, of_bob.out.as_str()), (0, ""));
}
