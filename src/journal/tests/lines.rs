//! One record is one line in one form, whatever is in it (L07, L08, L09).

use proptest::prelude::*;

use super::super::line::{self, Head, MAX_LINE, ORIGIN};
use super::super::record::{Record, Refused};
use super::memory::Memory;
use super::*;
use crate::reason::Reason;

fn written(event: &Event) -> Vec<u8> {
    let (mut body, mut out) = (Vec::new(), Vec::new());
    line::write_event(event, &mut body).unwrap();
    let time = "2026-11-22T13:22:08.123Z";
    line::assemble(7, time, &line::hex(&ORIGIN), &body, &mut out);
    out
}

fn read(line: &[u8]) -> Result<Record, String> {
    let head = Head::read(line).map_err(|e| e.to_string())?;
    head.record().map_err(|e| e.to_string())
}

fn refused(text: &str) -> Event {
    Event::Refusal(Refused {
        call: call_id(9),
        caller: Some(Caller {
            agent: "claude".parse().unwrap(),
            user: Some(text.to_owned()),
            transport: text.to_owned(),
            client: Some(text.to_owned()),
            task: None,
            chain: Vec::new(),
        }),
        tool: Some(text.to_owned()),
        arguments: Some(super::super::view_of_text(text.as_bytes())),
        attempt: None,
        host_call: None,
        reason: Reason::NameUnknown,
        message: text.to_owned(),
        detail: Some(text.to_owned()),
        decision: None,
        repeated: 0,
    })
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        proptest::sample::select(vec![
            "\n",
            "\r\n",
            "\0",
            "\u{1b}[2J",
            "\u{9b}31m",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "\u{feff}",
            "\u{e0041}",
            "\"}",
            "\\",
            "\\u0000",
            "{\"v\":1,\"seq\":1",
            "é",
            "🦀",
            "\u{10ffff}",
        ])
        .prop_map(str::to_owned),
        proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn l07_a_record_is_one_line_and_reads_back_equal(text in hostile()) {
        let event = refused(&text);
        let line = written(&event);
        let (last, rest) = line.split_last().unwrap();
        prop_assert_eq!(*last, b'\n');
        let text = std::str::from_utf8(rest).unwrap();
        prop_assert!(!text.contains(crate::json::plain::is_unsafe), "{}", text);
        let record = read(rest).unwrap();
        prop_assert_eq!((record.seq, record.prev), (7, ORIGIN));
        prop_assert_eq!(&record.event, &event);
        // Any other reader of JSON sees the same.
        let other: serde_json::Value = serde_json::from_str(text).unwrap();
        prop_assert_eq!(&other["message"], &serde_json::to_value(&event).unwrap()["message"]);
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn reading_never_panics_near_a_record(at in any::<prop::sample::Index>(), bytes in proptest::collection::vec(any::<u8>(), 0..4)) {
        let mut line = written(&intent(call_id(1)));
        let at = at.index(line.len());
        let end = (at + bytes.len()).min(line.len());
        line.splice(at..end, bytes);
        let _ = read(&line);
    }
}

#[test]
fn a_line_has_this_form() {
    let line = String::from_utf8(written(&intent(call_id(1)))).unwrap();
    let start = "{\"v\":1,\"seq\":7,\"time\":\"2026-11-22T13:22:08.123Z\",\"prev\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",\"kind\":\"intent\",\"call\":\"00000000-0000-0000-0000-000000000001\",\"caller\":{\"agent\":\"spiffe://tollgate.local/agent/claude\",\"transport\":\"stdio\",\"client\":\"inspector 1.0\"},\"tool\":\"github.search\",";
    assert!(line.starts_with(start), "{line}");
    for event in [Event::Stopped {}, Event::Heartbeat {}] {
        let line = String::from_utf8(written(&event)).unwrap();
        let end = format!("\",\"kind\":\"{}\"}}\n", event.kind());
        assert!(line.ends_with(&end), "{line}");
    }
}

/// The story of a call is found by that alone.
#[test]
fn a_record_of_a_call_names_it_first() {
    let call = call_id(5);
    let json = |text: &str| text.replace("CALL", &call.to_string());
    for text in [
        r#"{"kind":"lease","call":"CALL","lease":"lease_aaaaaaaaaaaaaaaa","stage":"live","plugin":"p","secret":"s","source":"store","revocable":false}"#,
        r#"{"kind":"approval-used","call":"CALL","approval":"approval_aaaaaaaaaaaaaaaa","asked":"CALL","by":[],"standing":false}"#,
        r#"{"kind":"approval-ended","call":"CALL","approval":"approval_aaaaaaaaaaaaaaaa","status":"void"}"#,
    ] {
        let event: Event = serde_json::from_str(&json(text)).unwrap();
        let line = written(&event);
        let head = Head::read(line.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!(head.call(), Some(call.to_string().as_str()), "{text}");
        assert_eq!(event.call(), Some(call));
    }
    for event in [intent(call), outcome(call)] {
        let line = written(&event);
        let head = Head::read(line.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!(head.call(), Some(call.to_string().as_str()));
    }
}

#[test]
fn every_kind_is_known_by_its_name() {
    for kind in Event::KINDS {
        let text = format!(r#"{{"kind":"{kind}"}}"#);
        let error = match serde_json::from_str::<Event>(&text) {
            Ok(event) => {
                assert_eq!(event.kind(), kind);
                continue;
            }
            Err(error) => error.to_string(),
        };
        assert!(error.contains("missing field"), "{kind}: {error}");
    }
    let error = serde_json::from_str::<Event>(r#"{"kind":""}"#).unwrap_err();
    let named = error.to_string().matches('`').count() / 2 - 1;
    assert_eq!(named, Event::KINDS.len(), "{error}");
}

#[test]
fn l09_a_line_in_another_form_is_refused() {
    let good = String::from_utf8(written(&intent(call_id(1)))).unwrap();
    let good = good.trim_end();
    read(good.as_bytes()).unwrap();
    let outcome = String::from_utf8(written(&outcome(call_id(1)))).unwrap();
    let outcome = outcome.trim_end();
    read(outcome.as_bytes()).unwrap();
    for (line, from, to) in [
        (good, "\"v\":1", "\"v\":2"),
        (good, "\"v\":1", "\"v\":01"),
        (good, "{\"v\"", "{ \"v\""),
        (good, "\"kind\":\"intent\"", "\"kind\":\"intention\""),
        (good, "\"kind\":\"intent\"", "\"kind\":\"outcome\""),
        (
            good,
            "\"kind\":\"intent\"",
            "\"kind\":\"intent\",\"kind\":\"intent\"",
        ),
        (good, "\"attempt\":1", "\"attempt\":1,\"attempt\":1"),
        (good, "\"attempt\":1", "\"attempt\":2,\"attempt\":1"),
        (good, "\"attempt\":1", "\"attempt\": 1"),
        (good, "\"attempt\":1", "\"attempt\":1,\"more\":1"),
        (good, "\"line\":3", "\"line\":3,\"more\":1"),
        (good, "\"line\":3", "\"line\":3.0"),
        (good, "\"line\":3", "\"line\":3,\"li\\u006ee\":3"),
        (good, "claude", "\\u0063laude"),
        (good, "spiffe://tollgate.local/agent/claude", "claude"),
        (good, "T13:22", "t13:22"),
        (good, "sha256:00", "sha256:0A"),
        (outcome, "{\"http\":2}", "{\"http\":1,\"http\":2}"),
        (
            outcome,
            "\"status\":\"ok\"",
            "\"status\":\"ok\",\"reason\":null",
        ),
        (outcome, "\"fuel\":1234", "\"fuel\":-1"),
    ] {
        let bad = line.replacen(from, to, 1);
        assert_ne!(bad, line, "{from}");
        assert!(read(bad.as_bytes()).is_err(), "{to}");
    }
    assert!(read(&[good.as_bytes(), b" "].concat()).is_err());
    assert!(read(&[good.as_bytes(), b"{}"].concat()).is_err());
    assert!(read(&good.as_bytes()[..good.len() - 1]).is_err());
}

#[test]
fn l08_a_record_that_is_too_large_is_cut_and_written() {
    let huge = "\u{1b}é".repeat(8 << 10);
    let Event::Intent(mut large) = intent(call_id(1)) else {
        panic!("an intent");
    };
    large.arguments.view = huge.clone();
    large.caller.client = Some(huge.clone());
    large.grants = vec![huge.clone(); 100];
    let policy = large.decision.policies[0].clone();
    large.decision.policies = vec![
        PolicyRef {
            id: "p".repeat(300),
            ..policy
        };
        10_000
    ];
    large.decision.errors = vec![huge.clone(); 50];

    let memory = Memory::default();
    let (journal, _) = open(&memory, options(64 << 20));
    for event in [Event::Intent(large), refused(&huge), changed(&huge)] {
        journal.append(&event).unwrap();
    }
    drop(journal);
    assert_eq!(verify(&memory).records, 4);
    let text = memory.segments().remove(&1).unwrap();
    let lines: Vec<_> = text.split_inclusive(|b| *b == b'\n').skip(1).collect();
    assert!(lines.iter().all(|line| line.len() <= MAX_LINE));
    let record = read(lines[0].strip_suffix(b"\n").unwrap()).unwrap();
    let Event::Intent(cut) = record.event else {
        panic!("an intent");
    };
    assert!(cut.arguments.cut);
    assert!(cut.arguments.view.ends_with("(24576 bytes)"));
    assert_eq!(cut.decision.errors[0], "9968 more policies are not listed");
    assert!(cut.grants.last().unwrap().contains("68 more"));
}
