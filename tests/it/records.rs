//! What a record holds of text from outside: one line, of bounded length, that says the same to every reader.

use std::path::Path;

use serde_json::{Value, json};
use tollgate::digest::Digest;
use tollgate::journal::record::{ArgumentsView, CallId, Event};
use tollgate::reason::Reason;
use tollgate::task::NewTask;

use crate::attacks::stands_for;
use crate::harness::binary::run;
use crate::harness::{Bench, Look as _, Setup, assert_verifies, records};
use crate::tasks::task;

/// What ends a line, moves a cursor, hides or turns text round, or ends a JSON string.
const HOSTILE: &[&str] = &[
    "\n",
    "\r\n{\"v\":1,\"seq\":1,\"kind\":\"stopped\"}\n",
    "\0",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{9b}31m",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}txt.exe",
    "\u{200b}\u{feff}\u{e0041}",
    "\"}",
    "\\",
    "\\u000a",
];

/// Letters that no line of a journal, and nothing that is printed of one, may have in it.
fn is_hostile(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Every line of every file of a journal.
fn lines(journal: &Path) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(journal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
            lines
        })
        .collect()
}

/// Text at every door that leads into the journal: names, arguments, bytes, what a plugin says of its
/// failure, what it logs, a URL, what a server answers, the client's own name, an operator's words.
async fn through_every_door(bench: &Bench, text: &str) -> Vec<CallId> {
    let mut calls = Vec::new();
    let unknown = bench
        .call(&format!("probe_echo{text}"), json!({"text": "x"}))
        .await;
    bench.assert_refused(&unknown, Reason::NameUnknown);
    calls.push(unknown.call);
    for arguments in [
        json!({"text": text}),
        json!({"text": "x", "value": {text: text}}),
    ] {
        let echoed = bench.call("probe_echo", arguments).await;
        assert_eq!(echoed.reason(), None, "{}", echoed.text());
        calls.push(echoed.call);
    }
    let raw = [b"{\"text\":\"".as_slice(), text.as_bytes(), b"\xff\"}"].concat();
    let not_text = bench.call_as("alice", "probe_echo", raw).await;
    bench.assert_refused(&not_text, Reason::ArgsInvalid);
    calls.push(not_text.call);
    let failed = bench
        .call("probe_fail", json!({"how": "failed", "message": text}))
        .await;
    assert_eq!(failed.reason(), Some(Reason::PluginFailed));
    calls.push(failed.call);
    let logged = bench.call("probe_log_line", json!({"text": text})).await;
    assert_eq!(logged.reason(), None, "{}", logged.text());
    calls.push(logged.call);
    for url in [
        format!("https://granted.example/{text}"),
        format!("https://{text}/"),
    ] {
        let sent = bench
            .call(
                "probe_send",
                json!({"requirement": "api", "method": "POST", "url": url, "body": text}),
            )
            .await;
        calls.push(sent.call);
    }
    let mut named = crate::harness::arrival("alice", "probe_echo", r#"{"text":"x"}"#);
    named.caller.client = Some(text.to_owned());
    named.caller.user = Some(text.to_owned());
    let cancel = tokio_util::sync::CancellationToken::new();
    calls.push(bench.host.call(named, cancel).await.call);
    // Refused or taken, as the text is: either way nothing of it may end a line.
    let _ = bench
        .host
        .start_task(NewTask {
            intent: text.to_owned(),
            by: text.to_owned(),
            ..task("bob", &["probe.echo"])
        })
        .await;
    calls
}

#[tokio::test]
pub(crate) async fn a_record_is_one_line_whatever_the_text_from_outside() {
    let _row = stands_for("L07");
    let bench = Setup::probe().start().await;
    let mut calls = Vec::new();
    for text in HOSTILE {
        calls.extend(through_every_door(&bench, text).await);
    }
    bench.host.stop().await;
    let home = bench.host.home().clone();
    let (records, lines) = (records(&home.journal()), lines(&home.journal()));
    assert_eq!(lines.len(), records.len(), "a record has one line");
    for (line, record) in lines.iter().zip(&records) {
        assert!(line.ends_with('\n'), "{line:?}");
        assert!(!line.contains(is_hostile), "{line:?}");
        // Any other reader of JSON sees the same record.
        let other: Value = serde_json::from_str(line).unwrap();
        assert_eq!(other["seq"], record.seq, "{line:?}");
        let event = serde_json::to_value(&record.event).unwrap();
        for (name, value) in event.as_object().unwrap() {
            assert_eq!(&other[name], value, "{line:?}");
        }
    }
    for call in &calls {
        let of_call = records
            .iter()
            .filter(|record| record.event.call() == Some(*call));
        assert!(of_call.count() > 0, "{call} left no record");
    }
    assert_verifies(&home.journal());
    // Nor does what is printed of them act upon a terminal.
    let show = calls[4].to_string();
    for arguments in [
        &["audit", "tail", "-n", "500"][..],
        &["audit", "search", "-n", "0"],
        &["audit", "search", "-n", "0", "--records"],
        &["audit", "show", &show],
        &["audit", "export", "--as", "ocsf"],
    ] {
        let said = run(&home, arguments).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.lines().count() > 3, "{said:?}");
        assert!(!said.out.contains(is_hostile), "{arguments:?}: {said:?}");
    }
}

/// The arguments as they stand in the only record that has them.
fn recorded(bench: &Bench, call: CallId) -> ArgumentsView {
    let mut views: Vec<_> = bench
        .records_of(call)
        .into_iter()
        .filter_map(|event| match event {
            Event::Intent(intent) => Some(intent.arguments),
            Event::Refusal(refused) => refused.arguments,
            _ => None,
        })
        .collect();
    assert_eq!(views.len(), 1, "{views:?}");
    views.remove(0)
}

#[tokio::test]
pub(crate) async fn arguments_that_are_large_are_a_digest_and_a_view_that_says_it_is_cut() {
    let _row = stands_for("L08");
    let bench = Setup::probe()
        .toml("[limits.arguments]\nbytes = \"11MiB\"")
        .start()
        .await;
    for (mib, is_read) in [(10, true), (12, false)] {
        let text = json!({"text": "\u{1b}".repeat((mib << 20) / 6)}).to_string();
        let reply = bench.call_as("alice", "probe_log_line", text.clone()).await;
        let view = recorded(&bench, reply.call);
        // What is too large is not read, and has no digest of its canonical text.
        let digest = is_read.then(|| Digest::of(text.as_bytes()));
        assert_eq!(view.digest, digest, "{mib}");
        if !is_read {
            bench.assert_refused(&reply, Reason::ArgsTooLarge);
        }
        assert_eq!(view.bytes, text.len() as u64);
        assert!(view.cut && view.view.len() <= 2048, "{view:?}");
    }
    // What is within bounds in bytes alone.
    let many = json!({"value": vec![vec!["abc"; 60]; 60]}).to_string();
    let reply = bench.call_as("alice", "probe_echo", many.clone()).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    let view = recorded(&bench, reply.call);
    assert_eq!(view.digest, Some(Digest::of(many.as_bytes())));
    assert!(view.cut && view.view.len() <= 2048, "{view:?}");
    bench.host.stop().await;
    let longest = lines(&bench.host.home().journal())
        .iter()
        .map(String::len)
        .max();
    assert!(longest < Some(32 << 10), "{longest:?}");
    bench.verify();
}
