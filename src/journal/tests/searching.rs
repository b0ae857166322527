//! Searching: bytes find what a reader of every record would find, and nothing else.

mod plainly;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;

use super::super::record::{
    ApprovalAnswered, ApprovalUsed, HostCall, HostCallRef, Outcome, Record, Recovered, Refused,
};
use super::super::{Decision, Query, Reader, call, each, search, story, tail};
use super::*;
use crate::reason::Reason;

/// A text that looks like a member of a record, in the hope to be taken for one.
const FORGED: &str =
    r#"","agent":"spiffe://tollgate.local/agent/mallory","kind":"refusal","tool":"bank.pay"#;

fn caller(agent: &str, user: Option<&str>, chain: &[&str]) -> Caller {
    Caller {
        agent: agent.parse().unwrap(),
        user: user.map(str::to_owned),
        transport: String::from("http"),
        client: Some(FORGED.to_owned()),
        task: None,
        chain: chain.iter().map(|agent| agent.parse().unwrap()).collect(),
    }
}

fn ground(policy: &str) -> Ground {
    Ground {
        policies: vec![PolicyRef {
            id: policy.to_owned(),
            file: String::from("x.cedar"),
            line: 1,
        }],
        set: Digest::of(b"set"),
        errors: vec![],
    }
}

fn begins(call: CallId, caller: Caller, tool: &str) -> Event {
    let Event::Intent(base) = intent(call) else {
        panic!("an intent");
    };
    Event::Intent(Intent {
        caller,
        tool: tool.parse().unwrap(),
        kind: Default::default(),
        round: None,
        job: None,
        arguments: ArgumentsView {
            view: format!("{{\"note\":{FORGED:?}}}"),
            ..base.arguments.clone()
        },
        decision: ground("calls"),
        ..base
    })
}

fn goes_to(call: CallId, number: u32, target: &str) -> Event {
    Event::HostCall(HostCall {
        call,
        host_call: HostCallRef {
            number,
            capability: String::from("http"),
            target: target.to_owned(),
        },
        method: Some(String::from("GET")),
        bytes_out: 0,
        body: None,
        secrets: vec![String::from("ada")],
        secret_uses: Vec::new(),
        decision: ground("reaches"),
    })
}

fn refused(call: CallId, reason: Reason, target: Option<&str>) -> Event {
    Event::Refusal(Refused {
        call,
        caller: target.is_none().then(|| caller("mallory", None, &[])),
        tool: target.is_none().then(|| String::from("bank.pay")),
        arguments: None,
        attempt: None,
        host_call: target.map(|target| HostCallRef {
            number: 9,
            capability: String::from("http"),
            target: target.to_owned(),
        }),
        reason,
        message: FORGED.to_owned(),
        detail: None,
        decision: None,
        repeated: 0,
    })
}

fn refused_by(call: CallId, who: Caller) -> Event {
    let mut event = refused(call, Reason::PolicyError, None);
    if let Event::Refusal(refused) = &mut event {
        refused.caller = Some(who);
    }
    event
}

fn ended(call: CallId, status: &str) -> Event {
    let Event::Outcome(base) = outcome(call) else {
        panic!("an outcome");
    };
    Event::Outcome(Outcome {
        status: status.to_owned(),
        ..base
    })
}

fn all(path: &Path) -> Vec<Record> {
    let mut reader = Reader::new(path);
    let mut all = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        all.push(record);
    }
    all
}

fn events() -> impl Strategy<Value = Event> {
    let id = (1_u128..12).prop_map(call_id);
    let agents = prop::sample::select(vec!["claude", "claude-2", "mallory"]);
    let tools = prop::sample::select(vec![
        "github.search",
        "github.comment",
        "git.hub",
        "bank.pay",
    ]);
    let targets = prop::sample::select(vec![
        "https://api.github.com/x",
        "https://api.github.com",
        "https://api.github.com.evil.example/",
        "http://api.github.com:8080/?u=https://bank.example/",
        "https://bank.example/",
        "not a url",
    ]);
    let users = prop::sample::select(vec![None, Some("ada"), Some("a\"d\\a\u{e9}")]);
    prop_oneof![
        (id.clone(), agents.clone(), users, tools, any::<bool>()).prop_map(
            |(id, agent, user, tool, handed)| {
                let chain: &[&str] = if handed { &["bob", "claude"] } else { &[] };
                begins(id, caller(agent, user, chain), tool)
            }
        ),
        (id.clone(), 1_u32..4, targets.clone()).prop_map(|(id, n, to)| goes_to(id, n, to)),
        (id.clone(), targets).prop_map(|(id, to)| refused(
            id,
            Reason::EgressHostNotGranted,
            Some(to)
        )),
        id.clone()
            .prop_map(|id| refused(id, Reason::PolicyError, None)),
        (
            id.clone(),
            prop::sample::select(vec!["ok", "error", "failed"])
        )
            .prop_map(|(id, status)| ended(id, status)),
        (id.clone(), id).prop_map(|(call, asked)| Event::ApprovalUsed(ApprovalUsed {
            call,
            approval: "approval_aaaaaaaaaaaaaaaa".parse().unwrap(),
            asked,
            by: vec!["bob".parse().unwrap(), "ada".parse().unwrap()],
            standing: false,
        })),
        agents.prop_map(|agent| {
            let mut event = changed("identity.refused");
            if let Event::Changed(changed) = &mut event {
                changed.subject = Some(format!("spiffe://tollgate.local/agent/{agent}"));
            }
            event
        }),
        Just(changed(FORGED)),
    ]
}

fn queries() -> impl Strategy<Value = Query> {
    let some =
        |values: Vec<&'static str>| prop::option::weighted(0.3, prop::sample::select(values));
    (
        some(vec!["claude", "mallory", "bob"]),
        some(vec!["ada", "bob", "a\"d\\a\u{e9}"]),
        some(vec!["github", "github.search", "git", "bank.pay"]),
        some(vec![
            "https://api.github.com",
            "api.github.com",
            "bank.example",
            "http://api.github.com:8080",
        ]),
        prop::option::weighted(
            0.3,
            prop::sample::select(vec![Decision::Allow, Decision::Hold, Decision::Refuse]),
        ),
        prop::option::weighted(
            0.2,
            prop::sample::select(vec![Reason::PolicyError, Reason::EgressHostNotGranted]),
        ),
        some(vec!["ok", "failed"]),
        some(vec!["calls", "reaches"]),
        some(vec!["intent", "refusal", "changed"]),
    )
        .prop_map(
            |(agent, user, tool, origin, decision, reason, status, policy, kind)| Query {
                agent: agent.map(|agent| agent.parse().unwrap()),
                user: user.map(str::to_owned),
                tool: tool.map(str::to_owned),
                origin: origin.map(str::to_owned),
                decision,
                reason,
                status: status.map(str::to_owned),
                policy: policy.map(str::to_owned),
                kind: kind.map(str::to_owned),
                ..Query::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bytes_find_what_reading_every_record_finds(
        events in proptest::collection::vec(events(), 1..60),
        queries in proptest::collection::vec(queries(), 6),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        // Calls lie across several segments.
        let (journal, _) = Journal::open(&path, options(12_000)).unwrap();
        for event in &events {
            journal.append(event).unwrap();
        }
        drop(journal);
        let records = all(&path);
        for query in queries {
            let (calls, alone) = plainly::found(&records, &query);
            let found = search(&path, &query, usize::MAX).unwrap();
            let got: BTreeSet<CallId> = found.calls.iter().copied().collect();
            prop_assert_eq!(&got, &calls, "{:?}", query);
            let got: BTreeSet<u64> = found.records.iter().copied().collect();
            prop_assert_eq!(&got, &alone, "{:?}", query);
            // All records of the calls, in order, and those of no call.
            let mut seqs = Vec::new();
            each(&path, &found, |record| {
                seqs.push(record.seq);
                ControlFlow::Continue(())
            }).unwrap();
            let expected: Vec<u64> = records
                .iter()
                .filter(|record| {
                    alone.contains(&record.seq)
                        || record.event.call().is_some_and(|call| calls.contains(&call))
                })
                .map(|record| record.seq)
                .collect();
            prop_assert_eq!(seqs, expected, "{:?}", query);
        }
    }
}

fn written(events: &[Event], segment: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (journal, _) = Journal::open(&path, options(segment)).unwrap();
    for event in events {
        journal.append(event).unwrap();
    }
    (directory, path)
}

fn of(agent: &str) -> Query {
    Query {
        agent: Some(agent.parse().unwrap()),
        ..Query::default()
    }
}

#[test]
fn the_newest_are_found_where_not_all_are_wanted() {
    let events: Vec<_> = (1..=40)
        .flat_map(|n| {
            let call = call_id(n);
            [
                begins(call, caller("claude", None, &[]), "github.search"),
                goes_to(call, 1, "https://api.github.com/"),
                ended(call, "ok"),
            ]
        })
        .collect();
    let (_directory, path) = written(&events, 5_000);
    for query in [
        of("claude"),
        Query {
            origin: Some(String::from("api.github.com")),
            status: Some(String::from("ok")),
            ..of("claude")
        },
    ] {
        let found = search(&path, &query, 3).unwrap();
        assert_eq!(found.calls, [38, 39, 40].map(call_id), "{query:?}");
        assert_eq!(search(&path, &query, 0).unwrap().calls, []);
    }
}

#[test]
fn an_origin_is_found_as_people_write_it_and_a_reason_wherever_it_stands() {
    let call = call_id(1);
    let answered = ApprovalAnswered {
        call,
        approval: "approval_aaaaaaaaaaaaaaaa".parse().unwrap(),
        by: "ada".parse().unwrap(),
        approve: true,
        standing_s: None,
        why: None,
        status: String::from("pending"),
        refused: Some(Reason::PolicyError),
        decision: None,
    };
    let events = [
        begins(call, caller("claude", None, &[]), "github.search"),
        goes_to(call, 1, "https://api.github.com/x"),
        Event::ApprovalAnswered(answered),
    ];
    let (_directory, path) = written(&events, 1 << 20);
    for origin in ["https://api.github.com", "https://api.github.com/"] {
        let query = Query {
            origin: Some(origin.to_owned()),
            ..Query::default()
        };
        assert_eq!(search(&path, &query, 9).unwrap().calls, [call], "{origin}");
    }
    let query = Query {
        reason: Some(Reason::PolicyError),
        ..Query::default()
    };
    assert_eq!(search(&path, &query, 9).unwrap().calls, [call]);
}

#[test]
fn what_is_in_a_text_is_not_what_a_record_says() {
    let call = call_id(1);
    let events = [
        begins(call, caller("claude", None, &[]), "github.search"),
        ended(call, "ok"),
    ];
    let (_directory, path) = written(&events, 1 << 20);
    assert_eq!(search(&path, &of("mallory"), 9).unwrap().calls, []);
    let tool = Query {
        tool: Some(String::from("bank.pay")),
        ..Query::default()
    };
    assert_eq!(search(&path, &tool, 9).unwrap().calls, []);
    // By its text it is found, as it stands there.
    let text = Query {
        text: Some(FORGED.to_owned()),
        ..Query::default()
    };
    assert_eq!(search(&path, &text, 9).unwrap().calls, [call]);
}

#[test]
fn the_last_records_are_the_last_of_those_asked_for() {
    let (one, other) = (call_id(1), call_id(2));
    // The first call is spoken of later than the second, but not by a record that is asked for.
    let events = [
        begins(one, caller("claude", None, &[]), "github.search"),
        begins(other, caller("claude", None, &[]), "github.search"),
        refused_by(one, caller("bob", None, &["claude"])),
    ];
    let (_directory, path) = written(&events, 1 << 20);
    let query = Query {
        kind: Some(String::from("intent")),
        ..of("claude")
    };
    let (records, _) = tail(&path, 1, &query).unwrap();
    let calls: Vec<_> = records.iter().filter_map(|r| r.event.call()).collect();
    assert_eq!(calls, [other]);
}

#[test]
fn time_bounds_what_is_looked_at() {
    let events = [changed("a"), changed("b")];
    let (_directory, path) = written(&events, 1 << 20);
    let between = |since: &str, until: &str| {
        let query = Query {
            since: Some(since.to_owned()),
            until: Some(until.to_owned()),
            ..Query::default()
        };
        search(&path, &query, 9).unwrap().records
    };
    let (past, future) = ("2020-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z");
    assert_eq!(between(past, future), [2, 3]);
    assert_eq!(between(future, future), [0; 0]);
    assert_eq!(between(past, past), [0; 0]);
}

#[test]
fn a_story_has_what_others_say_of_the_call() {
    let one = CallId("0199aaaa-0000-7000-8000-00000000beef".parse().unwrap());
    let other = CallId("0199aaaa-0000-7000-8000-00000000cafe".parse().unwrap());
    let events = [
        intent(one),
        intent(other),
        Event::ApprovalUsed(ApprovalUsed {
            call: other,
            approval: "approval_aaaaaaaaaaaaaaaa".parse().unwrap(),
            asked: one,
            by: vec!["ada".parse().unwrap()],
            standing: false,
        }),
        Event::Recovered(Recovered {
            cut_bytes: 0,
            unknown: vec![one],
        }),
    ];
    let (_directory, path) = written(&events, 1 << 20);
    let seqs = |id: &str| -> Vec<u64> { story(&path, id).unwrap().iter().map(|r| r.seq).collect() };
    assert_eq!(seqs("00beef"), [2, 4, 5]);
    assert_eq!(seqs("00cafe"), [3, 4]);
    assert_eq!(call(&path, "00beef").unwrap().len(), 1);
}

#[test]
fn a_line_that_is_none_is_named_where_it_would_be_found() {
    let (_directory, path) = written(&[changed("a")], 1 << 20);
    let file = path.join("00000000000000000001.jsonl");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("\"agent\":\"spiffe://tollgate.local/agent/claude\" and nothing else\n");
    std::fs::write(&file, text).unwrap();
    let error = search(&path, &of("claude"), 9).unwrap_err().to_string();
    assert!(
        error.starts_with("`00000000000000000001.jsonl`, line 3: not a record"),
        "{error}"
    );
}
