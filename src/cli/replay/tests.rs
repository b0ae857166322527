use super::*;
use crate::cli::args::Format;
use crate::cli::printer::Buffer;
use crate::tape::{Fields, Function};

fn asked(function: Function, fields: &[(&'static str, &str)]) -> Asked {
    let mut all = Fields::default();
    for (name, text) in fields {
        all.text(*name, text);
    }
    Asked {
        function,
        fields: all,
    }
}

fn intent() -> Intent {
    serde_json::from_value(json!({
        "call": "019aab00-0000-7000-8000-000000000001",
        "caller": {"agent": "spiffe://tollgate.local/agent/alice", "transport": "http"},
        "tool": "probe.send", "plugin": Digest::of(b"component"),
        "arguments": {"digest": null, "bytes": 2, "view": "{}", "cut": false},
        "attempt": 1, "grants": [],
        "decision": {"policies": [], "set": Digest::of(b"set"), "errors": []},
    }))
    .unwrap()
}

fn same(text: &str) -> Pair {
    Pair {
        recorded: text.into(),
        replayed: text.into(),
    }
}

fn told(compared: &Compared, format: Format) -> (Exit, String) {
    let (mut printer, out, _): (Printer, Buffer, Buffer) = Printer::buffers(format);
    let exit = compared
        .tell(&intent(), Digest::of(b"tape"), &mut printer)
        .unwrap();
    (exit, out.text())
}

#[test]
fn a_replay_that_is_the_same_says_what_is() {
    let compared = Compared {
        taped: 3,
        played: 3,
        departure: None,
        missing: None,
        output: same("sha256:aa"),
        fuel: Some((123_456, 123_456)),
        stopped: None,
    };
    let (exit, text) = told(&compared, Format::Human);
    assert_eq!(exit, Exit::Ok);
    insta::assert_snapshot!(text, @r"
           call 019aab00-0000-7000-8000-000000000001
           tool probe.send
      component sha256:6985ca1f4daa5a584a28eae043a239cb96689af1337ea13afb63e00c2bf512fa
           tape sha256:8ba4ec7d634f794ec260675876415c279bcd46e3705d5ffda147a65db9e15a12
     host calls 3 of 3
         output identical sha256:aa
           fuel identical 123456
    identical
    ");
}

#[test]
fn a_replay_that_left_the_tape_names_the_host_call_and_what_differs() {
    let compared = Compared {
        taped: 3,
        played: 1,
        departure: Some(Departure::Other {
            number: 2,
            taped: asked(
                Function::HttpSend,
                &[("method", "GET"), ("url", "https://a.example/1")],
            ),
            asked: asked(
                Function::HttpSend,
                &[
                    ("method", "GET"),
                    ("url", "https://a.example/\u{1b}2"),
                    ("body", "none"),
                ],
            ),
        }),
        missing: None,
        output: Pair {
            recorded: "sha256:aa".into(),
            replayed: "host.internal: the replay left the tape".into(),
        },
        fuel: Some((10, 7)),
        stopped: None,
    };
    let (exit, text) = told(&compared, Format::Human);
    assert_eq!(exit, Exit::Diverged);
    let text: Vec<_> = text.lines().skip(4).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
     host calls 1 of 3
         output differs recorded sha256:aa, replayed host.internal: the replay left the tape
           fuel differs recorded 10, replayed 7
                host call 2: `http.send` on the tape, `http.send` in the replay
                tape: url `https://a.example/1`; replay: url `https://a.example/\u{1b}2`
                tape: nothing; replay: body `none`
    diverged
    ");
    let (_, json) = told(&compared, Format::Json);
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json["identical"], false);
    assert_eq!(json["fuel"]["identical"], false);
    assert_eq!(json["host_calls"], json!({"taped": 3, "replayed": 1}));
    assert_eq!(json["differences"].as_array().unwrap().len(), 3);
}

#[test]
fn fewer_or_more_host_calls_are_a_difference() {
    let mut compared = Compared {
        taped: 2,
        played: 1,
        departure: None,
        missing: Some(asked(Function::LogWrite, &[])),
        output: same("sha256:aa"),
        fuel: Some((1, 1)),
        stopped: None,
    };
    assert!(!compared.is_identical());
    assert_eq!(
        compared.differences(),
        ["host call 2: `log.write` on the tape, none in the replay"]
    );
    compared.missing = None;
    compared.departure = Some(Departure::Further {
        number: 3,
        asked: asked(Function::MonotonicNow, &[]),
    });
    assert!(!compared.is_identical());
    assert_eq!(
        compared.differences(),
        ["host call 3: none on the tape, `wasi:clocks/monotonic-clock.now` in the replay"]
    );
}
