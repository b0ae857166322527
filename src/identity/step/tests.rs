//! Step tokens: what they hold to, and what nobody can make of them.

use biscuit_auth::builder::Algorithm;
use biscuit_auth::{BlockBuilder, UnverifiedBiscuit};
use proptest::prelude::*;
use serde_json::json;

use super::bounds::MAX_BLOCKS;
use super::terms::MAX_ARGUMENTS;
use super::*;
use crate::json::Limits;

const NOW: Duration = Duration::from_secs(1_000_000);

fn root() -> KeyPair {
    let seed = biscuit_auth::PrivateKey::from_bytes(&[7; 32], Algorithm::Ed25519).unwrap();
    KeyPair::from(&seed)
}

fn grant() -> Grant {
    Grant {
        id: "step_aaaaaaaaaaaaaaaa".parse().unwrap(),
        kind: StepKind::Step,
        agent: AgentId::local("alice").unwrap(),
        chain: Vec::new(),
        user: None,
        task: None,
        tool: Some("probe.echo".parse().unwrap()),
        answers: None,
        to: None,
        audience: "https://tools.example/mcp".into(),
        expires: 1_000_060,
        under: Vec::new(),
    }
}

fn make(grant: &Grant, narrowing: &Narrowing) -> String {
    Step::make(grant, narrowing, None, &root(), 1).unwrap()
}

fn read(text: &str) -> Result<Step, TokenFault> {
    Step::read(text, root().public())
}

fn arguments(value: &Value) -> Arguments {
    Arguments::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

fn admits(step: &Step, tool: &str, value: &Value, time: u64) -> Result<(), Reason> {
    step.admits(&StepQuestion {
        tool: &tool.parse().unwrap(),
        arguments: &arguments(value),
        round: None,
        task: None,
        time: Duration::from_secs(time),
    })
    .map_err(|refusal| refusal.reason)
}

/// The token's bytes, to do things to.
fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(text.strip_prefix(PREFIX).unwrap())
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The token with a block of one's own, as anyone who holds it can add.
fn with(token: &str, code: &str) -> String {
    let token = UnverifiedBiscuit::from(bytes(token)).unwrap();
    let block = BlockBuilder::new().code(code).unwrap();
    text(&token.append(block).unwrap().to_vec().unwrap())
}

const FAILED: Result<(), Reason> = Err(Reason::TokenCheckFailed);

#[test]
fn a_step_is_one_tool_with_these_arguments_until_then() {
    let value = json!({"path": "a.txt", "depth": 2});
    let narrowing = Narrowing {
        arguments: Some(arguments(&value).digest()),
        values: vec![("/path".into(), json!("a.txt"))],
    };
    let step = read(&make(&grant(), &narrowing)).unwrap();
    assert_eq!(step.grant(), &grant());
    assert_eq!(admits(&step, "probe.echo", &value, 1_000_000), Ok(()));
    assert_eq!(admits(&step, "probe.echo", &value, 1_000_059), Ok(()));
    assert_eq!(
        admits(&step, "probe.echo", &value, 1_000_060),
        Err(Reason::TokenExpired)
    );
    assert_eq!(admits(&step, "probe.send", &value, 1_000_000), FAILED);
    for other in [
        json!({"path": "b.txt", "depth": 2}),
        json!({"path": "a.txt", "depth": 3}),
        json!({"path": "a.txt"}),
        json!({}),
    ] {
        assert_eq!(
            admits(&step, "probe.echo", &other, 1_000_000),
            FAILED,
            "{other}"
        );
    }
}

#[test]
fn single_arguments_are_held_by_their_place_and_type() {
    let narrowing = Narrowing {
        arguments: None,
        values: vec![
            ("/a/0/x~1y".into(), json!("v")),
            ("/n".into(), json!(7)),
            ("/t".into(), json!(true)),
            ("/z".into(), json!(null)),
        ],
    };
    let step = read(&make(&grant(), &narrowing)).unwrap();
    let good = json!({"a": [{"x/y": "v"}], "n": 7, "t": true, "z": null, "more": "w"});
    assert_eq!(admits(&step, "probe.echo", &good, 1_000_000), Ok(()));
    for (pointer, other) in [
        ("n", json!("7")),
        ("n", json!(7.5)),
        ("t", json!("true")),
        ("z", json!(0)),
        ("a", json!("v")),
    ] {
        let mut value = good.clone();
        value[pointer] = other;
        assert_eq!(
            admits(&step, "probe.echo", &value, 1_000_000),
            FAILED,
            "{value}"
        );
    }
    // So many arguments that checks are given none of them: then none of them holds.
    let mut many = good.clone();
    for number in 0..MAX_ARGUMENTS {
        many[format!("m{number}")] = json!(1);
    }
    assert_eq!(admits(&step, "probe.echo", &many, 1_000_000), FAILED);
    for value in [json!(1.5), json!([]), json!({}), json!("x".repeat(2_000))] {
        let narrowing = Narrowing {
            arguments: None,
            values: vec![("/a".into(), value)],
        };
        assert!(Step::make(&grant(), &narrowing, None, &root(), 1).is_err());
    }
}

#[test]
fn a_task_is_held_to() {
    let task: TaskId = "task_aaaaaaaaaaaaaaaa".parse().unwrap();
    let other: TaskId = "task_bbbbbbbbbbbbbbbb".parse().unwrap();
    let of = Grant {
        task: Some(task),
        ..grant()
    };
    let step = read(&make(&of, &Narrowing::default())).unwrap();
    let ask = |task: Option<TaskId>| {
        step.admits(&StepQuestion {
            tool: &"probe.echo".parse().unwrap(),
            arguments: &Arguments::empty(),
            round: None,
            task,
            time: NOW,
        })
        .map_err(|refusal| refusal.reason)
    };
    assert_eq!(ask(Some(task)), Ok(()));
    assert_eq!(ask(Some(other)), FAILED);
    assert_eq!(ask(None), FAILED);
}

#[test]
fn a_step_is_for_one_round_with_its_answers() {
    let round = |said: &str| {
        let round = crate::call::Round {
            number: 2,
            answers: vec![("q".to_owned(), json!({"content": {"said": said}}))],
            ..crate::call::Round::default()
        };
        round.facts()
    };
    let ask = |step: &Step, round: Option<&RoundFacts>| {
        step.admits(&StepQuestion {
            tool: &"probe.echo".parse().unwrap(),
            arguments: &Arguments::empty(),
            round,
            task: None,
            time: NOW,
        })
        .map_err(|refusal| refusal.reason)
    };
    let (yes, no) = (round("yes"), round("no"));
    let first = read(&make(&grant(), &Narrowing::default())).unwrap();
    assert_eq!(ask(&first, None), Ok(()));
    assert_eq!(ask(&first, Some(&yes)), FAILED);
    let of = Grant {
        answers: Some(yes.bound.answers),
        ..grant()
    };
    let second = read(&make(&of, &Narrowing::default())).unwrap();
    assert_eq!(ask(&second, Some(&yes)), Ok(()));
    assert_eq!(ask(&second, Some(&no)), FAILED);
    assert_eq!(ask(&second, None), FAILED);
    // A hand-off is for a piece of work, rounds included, unless its holder narrows it.
    let work = Grant {
        kind: StepKind::Handoff,
        to: Some(AgentId::local("bob").unwrap()),
        ..grant()
    };
    let work = make(&work, &Narrowing::default());
    assert_eq!(ask(&read(&work).unwrap(), Some(&yes)), Ok(()));
    let narrowed = read(&narrow(&work, &["check if round(1)".into()]).unwrap()).unwrap();
    assert_eq!(ask(&narrowed, None), Ok(()));
    assert_eq!(ask(&narrowed, Some(&yes)), FAILED);
}

#[test]
fn a_holder_can_narrow_and_no_more() {
    let token = make(&grant(), &Narrowing::default());
    let narrowed = narrow(&token, &[r#"check if argument("/path", "a.txt")"#.into()]).unwrap();
    let step = read(&narrowed).unwrap();
    assert_eq!(step.grant(), &grant());
    assert!(step.is_used_once());
    assert_eq!(
        admits(&step, "probe.echo", &json!({"path": "a.txt"}), 1_000_000),
        Ok(())
    );
    assert_eq!(
        admits(&step, "probe.echo", &json!({"path": "b.txt"}), 1_000_000),
        FAILED
    );
    // Facts of a later block are no facts of the host, under whatever name.
    let wider = Grant {
        agent: AgentId::local("bob").unwrap(),
        expires: 9_000_000,
        ..grant()
    };
    let said = serde_json::to_string(&wider).unwrap().replace('"', "\\\"");
    let forged = with(
        &token,
        &format!(
            "tollgate(\"{said}\"); tool(\"probe.send\"); time(1970-01-01T00:00:00Z); argument(\"/path\", \"a.txt\"); task(\"x\");"
        ),
    );
    let step = read(&forged).unwrap();
    assert_eq!(step.grant(), &grant());
    assert_eq!(admits(&step, "probe.send", &json!({}), 1_000_000), FAILED);
    assert_eq!(
        admits(&step, "probe.echo", &json!({}), 2_000_000),
        Err(Reason::TokenExpired)
    );
}

#[test]
fn what_a_later_block_may_not_hold_is_refused_before_anything_runs() {
    let token = make(&grant(), &Narrowing::default());
    let many_facts: String = (0..200).map(|n| format!("f({n});")).collect();
    let many_checks: String = (0..40)
        .map(|n| format!("check if tool(\"{n}\");"))
        .collect();
    for code in [
        "f($x) <- tool($x);",
        "allowed(true) <- tool($x); check if allowed(true);",
        "check all tool($x), $x == \"probe.echo\";",
        "reject if tool(\"x\");",
        "check if tool($a), tool($b), tool($c);",
        "check if tool($a), $a.matches(\"(a+)+b\");",
        "check if tool($a), [1, 2].any($p -> $p > 1);",
        "check if tool($a), [1, 2].all($p -> $p > 0);",
        "check if tool($a) trusting previous;",
        &many_facts,
        &many_checks,
    ] {
        let error = read(&with(&token, code)).unwrap_err();
        assert_eq!(error.reason, Reason::TokenInvalid, "{code}");
    }
    let mut deep = token.clone();
    for _ in 0..MAX_BLOCKS {
        deep = with(&deep, "check if tool($t);");
    }
    assert!(read(&deep).is_err());
    assert!(read(&format!("{PREFIX}{}", "A".repeat(MAX_STEP))).is_err());
}

#[test]
fn blocks_can_not_be_removed_reordered_or_signed_by_another() {
    let token = make(&grant(), &Narrowing::default());
    let one = with(&token, "check if tool(\"probe.echo\");");
    let two = with(&one, "check if argument(\"/path\", \"a.txt\");");
    assert!(read(&two).is_ok());
    let parts = |text: &str| {
        biscuit_auth::format::SerializedBiscuit::from_slice(&bytes(text), root().public()).unwrap()
    };
    let stripped = {
        let mut container = parts(&two);
        container.blocks.pop();
        container.to_vec().unwrap()
    };
    let reordered = {
        let mut container = parts(&two);
        container.blocks.swap(0, 1);
        container.to_vec().unwrap()
    };
    let bare = {
        let mut container = parts(&two);
        container.proof = parts(&token).proof;
        container.to_vec().unwrap()
    };
    for (what, forged) in [
        ("stripped", stripped),
        ("reordered", reordered),
        ("proof", bare),
    ] {
        assert!(read(&text(&forged)).is_err(), "{what}");
    }
    // Another root, and another first block under the right one's later blocks.
    let stranger = KeyPair::new();
    let foreign = Step::make(&grant(), &Narrowing::default(), None, &stranger, 1).unwrap();
    assert!(read(&foreign).is_err());
    let swapped = {
        let mut container = parts(&two);
        container.authority = biscuit_auth::format::SerializedBiscuit::from_slice(
            &bytes(&foreign),
            stranger.public(),
        )
        .unwrap()
        .authority;
        container.to_vec().unwrap()
    };
    assert!(read(&text(&swapped)).is_err());
}

#[test]
fn a_token_of_a_token_keeps_every_check() {
    let handoff = Grant {
        kind: StepKind::Handoff,
        to: Some(AgentId::local("bob").unwrap()),
        tool: None,
        ..grant()
    };
    let token = make(&handoff, &Narrowing::default());
    let narrowed = narrow(&token, &[r#"check if argument("/path", "a.txt")"#.into()]).unwrap();
    let parent = read(&narrowed).unwrap();
    let child = Step::make(&grant(), &Narrowing::default(), Some(&parent), &root(), 1).unwrap();
    let child = read(&child).unwrap();
    assert_eq!(
        admits(&child, "probe.echo", &json!({"path": "a.txt"}), 1_000_000),
        Ok(())
    );
    assert_eq!(
        admits(&child, "probe.echo", &json!({"path": "b.txt"}), 1_000_000),
        FAILED
    );
}

#[test]
fn a_block_that_costs_the_most_is_decided_in_bounded_steps() {
    let token = make(&grant(), &Narrowing::default());
    let facts: String = (0..60).map(|n| format!("f({n}, \"{n}\");")).collect();
    let checks: String = (0..20)
        .map(|n| format!("check if f($a, $b), f($c, $d), $a + $c == {};", 1_000 + n))
        .collect();
    let heavy = with(&token, &format!("{facts}{checks}"));
    let outcome = read(&heavy).map(|step| admits(&step, "probe.echo", &json!({}), 1_000_000));
    assert!(matches!(
        outcome,
        Err(_) | Ok(Err(Reason::TokenCheckFailed))
    ));
}

/// J16: 1 ms refuses what is allowed under load; this host's limit does not. The whole number of
/// `threats.md` is run by hand (see the benches); here enough to fail under 1 ms on a busy machine.
#[test]
fn no_allowed_step_is_refused_for_lack_of_time() {
    let step = read(&make(&grant(), &Narrowing::default())).unwrap();
    let value = json!({"path": "a.txt", "depth": 2});
    for _ in 0..500 {
        assert_eq!(admits(&step, "probe.echo", &value, 1_000_000), Ok(()));
    }
}

#[test]
fn no_debug_text_shows_a_token() {
    let token = make(&grant(), &Narrowing::default());
    let shown = format!("{:?}", read(&token).unwrap());
    assert!(!shown.contains(token.get(8..40).unwrap()));
    assert!(shown.contains("step_aaaaaaaaaaaaaaaa"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn narrowing_never_widens(
        checks in proptest::collection::vec(0_usize..6, 1..4),
        path in "[ab]", tool in "probe\\.(echo|send)", time in 999_990_u64..1_000_070,
    ) {
        const CHECKS: [&str; 6] = [
            "check if argument(\"/path\", \"a\")",
            "check if argument(\"/path\", $p), $p != \"b\"",
            "check if tool(\"probe.echo\") or tool(\"probe.send\")",
            "check if time($t), $t < 1970-01-12T13:46:50Z",
            "check if true",
            "check if false",
        ];
        let token = make(&grant(), &Narrowing::default());
        let value = json!({ "path": path });
        let before = admits(&read(&token).unwrap(), &tool, &value, time).is_ok();
        let chosen: Vec<String> = checks.iter().map(|at| CHECKS[*at].to_owned()).collect();
        let narrowed = narrow(&token, &chosen).unwrap();
        let after = admits(&read(&narrowed).unwrap(), &tool, &value, time).is_ok();
        prop_assert!(before || !after);
    }

    #[test]
    fn no_changed_byte_verifies(at in 0_usize..400, to in any::<u8>()) {
        let mut changed = bytes(&make(&grant(), &Narrowing::default()));
        let at = at % changed.len();
        prop_assume!(changed[at] != to);
        changed[at] = to;
        // What protobuf leaves open (an unknown field) may still verify; then it says the same.
        if let Ok(step) = read(&text(&changed)) {
            prop_assert_eq!(step.grant(), &grant());
        }
    }

    #[test]
    fn no_text_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&text(&body)).is_err());
    }
}
