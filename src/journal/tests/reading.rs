//! Reading, also while it is written, and what people see.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::super::record::{HostCall, HostCallOutcome, HostCallRef, Refused, SecretUse};
use super::super::show::{self, Look};
use super::super::{Query, ReadError, Reader, call, tail};
use super::*;
use crate::reason::Reason;

const PLAIN: Look = Look { colour: false };

fn journal(path: &Path) -> Journal {
    Journal::open(path, options(1 << 20)).unwrap().0
}

fn seqs(records: &[super::super::record::Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

#[test]
fn a_reader_goes_on_with_what_is_written_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (journal, _) = Journal::open(&path, options(1500)).unwrap();
    let mut reader = Reader::new(&path);
    assert_eq!(reader.next_record().unwrap().unwrap().seq, 1);
    assert_eq!(reader.next_record().unwrap(), None);
    let mut last = 1;
    for round in 0..10 {
        for n in 0..2 {
            journal.append(&intent(call_id(round * 2 + n))).unwrap();
        }
        let mut seen = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            assert_eq!(record.seq, last + 1);
            last = record.seq;
            seen.extend(record.event.call());
        }
        assert_eq!(seen, [call_id(round * 2), call_id(round * 2 + 1)]);
    }
    assert!(fs::read_dir(&path).unwrap().count() > 10);
}

#[test]
fn a_line_without_its_end_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let journal = journal(&path);
    journal.append(&changed("a")).unwrap();
    journal.append(&changed("b")).unwrap();
    drop(journal);
    let file = path.join("00000000000000000001.jsonl");
    let whole = fs::read(&file).unwrap();
    let at = whole.len() - 30;
    fs::write(&file, &whole[..at]).unwrap();
    // Nothing speaks of it yet.
    fs::write(path.join("00000000000000000001.checkpoints"), "").unwrap();

    let mut reader = Reader::new(&path);
    assert_eq!(reader.next_record().unwrap().unwrap().seq, 1);
    assert_eq!(reader.next_record().unwrap().unwrap().seq, 2);
    assert_eq!(reader.next_record().unwrap(), None);
    assert!(reader.being_written() > 0);
    let report = super::super::verify(&path, |_| ()).unwrap();
    assert!(report.is_good());
    assert_eq!(report.torn_tail, reader.being_written() as u64);
    assert_eq!(report.unsigned(), 2);
    assert_eq!(seqs(&tail(&path, 5, &Query::default()).unwrap().0), [1, 2]);

    let mut file = fs::OpenOptions::new().append(true).open(&file).unwrap();
    file.write_all(&whole[at..]).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().seq, 3);
    assert_eq!(reader.being_written(), 0);
}

#[test]
fn tail_gives_the_last_records_and_follows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let journal = journal(&path);
    for n in 1..=5 {
        journal.append(&intent(call_id(n))).unwrap();
        journal.append(&outcome(call_id(n))).unwrap();
    }
    let (last, mut reader) = tail(&path, 3, &Query::default()).unwrap();
    assert_eq!(seqs(&last), [9, 10, 11]);
    assert_eq!(reader.next_record().unwrap(), None);
    journal.append(&changed("later")).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().seq, 12);

    let wanted = |query: &Query, count| seqs(&tail(&path, count, query).unwrap().0);
    let kind = |kind: &str| Query {
        kind: Some(kind.to_owned()),
        ..Query::default()
    };
    assert_eq!(wanted(&kind("outcome"), 2), [9, 11]);
    assert_eq!(wanted(&kind("changed"), 9), [12]);
    for tool in ["github", "github.search"] {
        let query = Query {
            tool: Some(tool.to_owned()),
            ..Query::default()
        };
        assert_eq!(
            wanted(&query, 2),
            [10, 11],
            "all records of a call are of its tool"
        );
    }
    let agent = |name: &str| Query {
        agent: Some(name.parse().unwrap()),
        ..Query::default()
    };
    assert_eq!(wanted(&agent("claude"), 4), [8, 9, 10, 11]);
    assert_eq!(wanted(&agent("other"), 9), Vec::<u64>::new());
    let outcomes = Query {
        kind: Some(String::from("outcome")),
        ..agent("claude")
    };
    assert_eq!(wanted(&outcomes, 2), [9, 11]);
    assert_eq!(wanted(&Query::default(), 0), Vec::<u64>::new());
    assert_eq!(wanted(&kind("outcome"), 0), Vec::<u64>::new());
    assert_eq!(wanted(&Query::default(), 100).len(), 12);
}

#[test]
fn what_comes_is_followed_by_whose_call_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let journal = journal(&path);
    journal.append(&intent(call_id(1))).unwrap();
    let query = Query {
        agent: Some("claude".parse().unwrap()),
        kind: Some(String::from("outcome")),
        ..Query::default()
    };
    let (last, mut end) = tail(&path, 5, &query).unwrap();
    assert!(last.is_empty());
    // Whose the first of these is was written before anyone followed, in a record that is none of the wanted.
    for event in [
        outcome(call_id(1)),
        intent(call_id(2)),
        changed("a"),
        outcome(call_id(2)),
        outcome(call_id(3)),
    ] {
        journal.append(&event).unwrap();
    }
    for seq in [Some(3), Some(6), None] {
        assert_eq!(end.next_record().unwrap().map(|record| record.seq), seq);
    }
}

#[test]
fn a_call_is_found_by_the_start_or_the_end_of_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let journal = journal(&path);
    let (one, other) = (
        CallId("0199aaaa-0000-7000-8000-00000000beef".parse().unwrap()),
        CallId("0199aaaa-0000-7000-8000-00000000cafe".parse().unwrap()),
    );
    for call in [one, other] {
        journal.append(&intent(call)).unwrap();
    }
    for call in [one, other] {
        journal.append(&outcome(call)).unwrap();
    }
    for id in [
        "00beef",
        "0199aaaa-0000-7000-8000-00000000b",
        "0199AAAA-0000-7000-8000-00000000beef",
    ] {
        assert_eq!(seqs(&call(&path, id).unwrap()), [2, 4], "{id}");
    }
    assert!(
        matches!(call(&path, "0199aaaa"), Err(ReadError::Ambiguous { calls, .. }) if calls.len() == 2)
    );
    assert!(matches!(call(&path, "ffffff"), Err(ReadError::NoCall(_))));
    for id in [
        "beef",
        "",
        "00\u{1b}beef",
        "0199aaaa-0000-7000-8000-00000000beef0",
    ] {
        assert!(
            matches!(call(&path, id), Err(ReadError::NotAnId(_))),
            "{id}"
        );
    }
}

#[test]
fn a_bad_line_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    drop(journal(&path));
    fs::write(path.join("00000000000000000001.jsonl"), "nonsense\n").unwrap();
    let error = tail(&path, 1, &Query::default()).unwrap_err().to_string();
    assert!(
        error.starts_with("`00000000000000000001.jsonl`, line 1: not a record"),
        "{error}"
    );
}

fn story(path: &Path) -> CallId {
    let call = CallId("0199aaaa-0000-7000-8000-00000000beef".parse().unwrap());
    let Event::Intent(base) = intent(call) else {
        panic!("an intent");
    };
    let target = HostCallRef {
        number: 1,
        capability: String::from("http"),
        target: String::from("https://api.github.com/search"),
    };
    let journal = journal(path);
    for event in [
        intent(call),
        Event::HostCall(HostCall {
            call,
            host_call: target.clone(),
            method: Some(String::from("GET")),
            bytes_out: 0,
            body: None,
            secrets: vec![String::from("token")],
            secret_uses: vec![SecretUse {
                secret: String::from("token"),
                scheme: String::from("bearer"),
                decision: base.decision.clone(),
            }],
            decision: base.decision.clone(),
        }),
        Event::HostCallOutcome(HostCallOutcome {
            call,
            number: 1,
            status: String::from("ok"),
            reason: None,
            detail: None,
            http_status: Some(200),
            address: Some(String::from("140.82.121.6:443")),
            bytes_in: 5000,
            duration_us: 81_500,
        }),
        Event::Refusal(Refused {
            call,
            caller: None,
            tool: None,
            arguments: None,
            attempt: None,
            host_call: Some(HostCallRef {
                number: 2,
                target: String::from("https://evil.example/\u{1b}[2J\n\u{202e}"),
                ..target
            }),
            reason: Reason::EgressHostNotGranted,
            message: String::from("this host was not granted"),
            detail: Some(String::from("grant it in policies/github.cedar")),
            decision: None,
            repeated: 3,
        }),
        outcome(call),
    ] {
        journal.append(&event).unwrap();
    }
    call
}

/// Times differ from run to run.
fn settled(text: &str, records: &[super::super::record::Record]) -> String {
    let mut text = text.to_owned();
    for record in records {
        text = text.replace(&record.time, "[time]");
    }
    text.lines()
        .map(|line| match line.split_once(" ms  ") {
            Some((since, rest)) if since.trim_start().starts_with('+') => {
                format!("[since]  {rest}")
            }
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_call_reads_as_a_story() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let id = story(&path);
    let records = call(&path, &id.to_string()).unwrap();
    insta::assert_snapshot!(settled(&show::call(&records, PLAIN), &records), @r#"
call 0199aaaa-0000-7000-8000-00000000beef
       time [time]
      agent spiffe://tollgate.local/agent/claude over stdio, with a client that calls itself `inspector 1.0`
       tool github.search
     plugin sha256:5e689e2b01672bf33996e75d5e372ff60c536ce1599a1458e867cd8f4bef5160
  arguments {} (2 B)
            sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
     grants api
[since]  record 2  intent             by `reads`
              policy `reads` at policies/github.cedar:3
              policy set 6ee0eb490ff8
[since]  record 3  host-call          #1 http GET https://api.github.com/search, with token  by `reads`
              policy `reads` at policies/github.cedar:3
              policy set 6ee0eb490ff8
              secret `token` lent (bearer) by policy `reads` at policies/github.cedar:3
[since]  record 4  host-call-outcome  #1  ok  200  140.82.121.6:443  4 KiB in  81.5 ms
[since]  record 5  refusal            #2 http https://evil.example/\u{1b}[2J\n\u{202e}  egress.host_not_granted  this host was not granted  and 3 more times
              grant it in policies/github.cedar
[since]  record 6  outcome            ok  4.3 ms  fuel 1234  6 B out
              result sha256:f6a214f7a5fcda0c2cee9660b7fc29f5649e3c68aad48e20e950137c98913a68
              host calls: http ×2
              4.3 ms in all: 81.5 ms in 1 host call, 0 µs in the host and the plugin
"#);
}

#[test]
fn a_record_is_shown_on_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let _ = story(&path);
    let (records, _) = tail(&path, 5, &Query::default()).unwrap();
    let lines: Vec<_> = records
        .iter()
        .map(|record| show::line(record, PLAIN))
        .collect();
    insta::assert_snapshot!(settled(&lines.join("\n"), &records), @r#"
[time]  intent             claude  github.search  {}  by `reads`  call 00000000beef
[time]  host-call          #1 http GET https://api.github.com/search, with token  by `reads`  call 00000000beef
[time]  host-call-outcome  #1  ok  200  140.82.121.6:443  4 KiB in  81.5 ms  call 00000000beef
[time]  refusal            #2 http https://evil.example/\u{1b}[2J\n\u{202e}  egress.host_not_granted  this host was not granted  and 3 more times  call 00000000beef
[time]  outcome            ok  4.3 ms  fuel 1234  6 B out  call 00000000beef
"#);
}

#[test]
fn a_call_is_told_on_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let id = story(&path);
    let records = call(&path, &id.to_string()).unwrap();
    let mut told = show::Summary::of(&records[0]).unwrap();
    assert_eq!(told.status, "open");
    records[1..].iter().for_each(|record| told.add(record));
    assert_eq!(
        show::summary(&told, PLAIN).replace(&records[0].time, "[time]"),
        "[time]  ok       claude  github.search  4.3 ms  1 host call  4 refused within  https://api.github.com  call 00000000beef"
    );
}

#[test]
fn nothing_from_outside_reaches_a_terminal_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let id = story(&path);
    let records = call(&path, &id.to_string()).unwrap();
    let is_unsafe = |c: char| c != '\n' && crate::json::plain::is_unsafe(c);
    assert!(!show::call(&records, PLAIN).contains(is_unsafe));
    for record in &records {
        assert!(!show::line(record, PLAIN).contains(crate::json::plain::is_unsafe));
        let coloured = show::line(record, Look { colour: true });
        // Colour changes nothing but colour.
        assert_eq!(
            anstream::adapter::strip_str(&coloured).to_string(),
            show::line(record, PLAIN)
        );
    }
}
