//! What becomes of records that the integration tests do not make.

use super::*;
use crate::digest::Digest;
use crate::journal::record::{ApprovalAnswered, Recovered, Started};

fn record(seq: u64, event: Event) -> Record {
    Record {
        seq,
        time: String::from("2026-11-22T13:22:08.123Z"),
        prev: Digest::of(b""),
        event,
    }
}

fn call(number: u128) -> CallId {
    CallId(uuid::Uuid::from_u128(number))
}

#[test]
fn a_start_is_of_the_lifecycle() {
    let started = Event::Started(Started {
        version: String::from("0.1.0"),
        policy_set: None,
        plugins: 1,
    });
    let events = Ocsf::default().events(&record(1, started));
    insta::assert_snapshot!(serde_json::to_string(&events[0]).unwrap(), @r#"{"category_uid":6,"category_name":"Application Activity","class_uid":6002,"class_name":"Application Lifecycle","activity_id":3,"activity_name":"Start","type_uid":600203,"type_name":"Application Lifecycle: Start","severity_id":1,"severity":"Informational","app":{"name":"Tollgate","vendor_name":"Tollgate","version":"0.1.0"},"status_id":1,"status":"Success","time":1795353728123,"metadata":{"version":"1.6.0","product":{"name":"Tollgate","vendor_name":"Tollgate","version":"0.1.0"},"profiles":["security_control"],"log_name":"journal","log_version":"1","event_code":"started","sequence":1,"original_time":"2026-11-22T13:22:08.123Z","uid":"1"},"message":"the host started, version 0.1.0"}"#);
}

#[test]
fn each_call_without_an_end_is_an_event_of_its_own() {
    let recovered = Event::Recovered(Recovered {
        cut_bytes: 0,
        unknown: vec![call(1), call(2)],
    });
    let events = Ocsf::default().events(&record(7, recovered));
    let uids: Vec<_> = events
        .iter()
        .map(|event| &event["metadata"]["uid"])
        .collect();
    assert_eq!(uids.len(), 2);
    assert_ne!(uids[0], uids[1]);
    for event in &events {
        assert_eq!(
            (&event["status_id"], &event["class_uid"]),
            (&json!(0), &json!(6003))
        );
        assert!(event["actor"].is_object() && event["src_endpoint"].is_object());
    }
}

#[test]
fn a_persons_answer_is_theirs() {
    let answered = Event::ApprovalAnswered(ApprovalAnswered {
        call: call(1),
        approval: "approval_aaaaaaaaaaaaaaaa".parse().unwrap(),
        by: "ada".parse().unwrap(),
        approve: false,
        standing_s: None,
        why: Some(String::from("words of a person")),
        status: String::from("denied"),
        refused: None,
        decision: None,
    });
    let event = Ocsf::default().events(&record(3, answered)).remove(0);
    assert_eq!(event["actor"]["user"]["name"], "ada");
    assert_eq!(event["api"]["operation"], "approval.deny");
    assert!(!event.to_string().contains("words"));
}

#[test]
fn what_the_host_does_by_itself_is_no_operators() {
    for (change, whom) in [
        ("agent.added", "operator"),
        ("agent.lifted", "operator"),
        ("credential.refused", "host"),
        ("clock.stepped", "host"),
        ("telemetry.sent", "host"),
    ] {
        let changed = Event::Changed(Changed {
            change: change.to_owned(),
            ..Changed::default()
        });
        let events = Ocsf::default().events(&record(1, changed));
        assert_eq!(events[0]["actor"]["invoked_by"], whom, "{change}");
    }
}

#[test]
fn a_name_that_was_not_looked_up_is_nobodys() {
    let refused = |reason, digest| {
        Event::Refusal(Refused {
            call: call(1),
            caller: Some(caller()),
            tool: Some(String::from("made.up")),
            arguments: Some(ArgumentsView {
                digest,
                bytes: 2,
                view: String::from("{}"),
                cut: false,
            }),
            attempt: None,
            host_call: None,
            reason,
            message: String::new(),
            detail: None,
            decision: None,
            repeated: 0,
        })
    };
    let said = |reason, digest| {
        let events = Ocsf::default().events(&record(1, refused(reason, digest)));
        events[0].to_string().contains("made.up")
    };
    // Before the catalogue is asked.
    for reason in [
        Reason::HostDraining,
        Reason::RevokedAgent,
        Reason::RevokedAll,
        Reason::NameUnknown,
    ] {
        assert!(!said(reason, None), "{reason}");
    }
    // And behind that.
    assert!(said(Reason::RevokedPlugin, None));
    assert!(said(Reason::ArgsInvalid, None));
    assert!(said(Reason::RevokedAgent, Some(Digest::of(b"{}"))));
}

fn caller() -> Caller {
    Caller {
        agent: "claude".parse().unwrap(),
        user: None,
        transport: String::from("http"),
        client: None,
        task: None,
        chain: Vec::new(),
    }
}

#[test]
fn calls_are_forgotten_in_the_order_in_which_they_came() {
    let mut ocsf = Ocsf::default();
    let known = || Known {
        caller: caller(),
        tool: String::from("a.b"),
        plugin: None,
        arguments: None,
        ground: None,
        host_calls: HashMap::new(),
    };
    for number in 0..=REMEMBERED as u128 + 1 {
        ocsf.remember(call(number), known());
        ocsf.remember(call(number), known());
    }
    assert_eq!(
        (ocsf.calls.len(), ocsf.order.len()),
        (REMEMBERED, REMEMBERED)
    );
    assert!(!ocsf.calls.contains_key(&call(1)) && ocsf.calls.contains_key(&call(2)));
}
