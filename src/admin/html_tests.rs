//! Tests of the pages' text.

use proptest::prelude::*;

use super::*;
use crate::control::{BodyReport, sample};

const LOOK: Look<'_> = Look {
    person: "ada",
    form: "FORM",
    ticket: None,
    fault: None,
};

fn report(arguments: &str) -> ApprovalReport {
    ApprovalReport {
        user: Some("<b>u".into()),
        chain: vec!["spiffe://tollgate.local/agent/planner".into()],
        asks: 3,
        ..sample(arguments)
    }
}

#[test]
fn hostile_text_is_text() {
    let evil = "</pre><script>alert(1)</script>\u{1b}[2J\u{202e}\"' onload=x&";
    let mut report = report(&serde_json::to_string(evil).unwrap());
    report.effect = evil.into();
    report.agent = evil.into();
    report.user = Some(evil.into());
    report.tool = evil.into();
    report.id = "x\"><script>".into();
    report.status = "pending\"><script>".into();
    report.body = Some(BodyReport {
        text: evil.into(),
        whole: false,
        bytes: 9,
        digest: evil.into(),
    });
    for status in ["pending", evil] {
        report.status = status.into();
        let look = Look {
            person: evil,
            form: evil,
            ticket: Some(evil),
            fault: Some(evil),
        };
        for page in [
            approval(&report, look),
            list(&[report.clone()], look),
            login(evil, Some(evil)),
            wrong(evil),
            unknown(look),
        ] {
            assert!(!page.contains("<script"), "{page}");
            assert!(!page.contains("\" onload"), "{page}");
            assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'));
        }
    }
}

#[test]
fn long_arguments_are_whole() {
    let long = format!(r#"{{"a":"{}","z":"THE TAIL"}}"#, "x".repeat(100_000));
    let page = approval(&report(&long), LOOK);
    assert!(page.contains(&"x".repeat(100_000)));
    assert!(page.contains("&quot;z&quot;: &quot;THE TAIL&quot;"));
}

#[test]
fn a_page_has_what_an_approver_needs() {
    let page = approval(&report(r#"{"body":"hi","n":[1,2],"none":{}}"#), LOOK);
    insta::assert_snapshot!(spread(r#"{"body":"a,b:{\"}","n":[1,2],"none":{}}"#), @r#"
    {
      "body": "a,b:{\"}",
      "n": [
        1,
        2
      ],
      "none": {}
    }
    "#);
    for needed in [
        "call github.comment",
        "claude",
        "planner",
        "1 of 2 persons",
        ", 3 times",
        "sha256:11",
        "value=\"approve\"",
        "value=\"deny\"",
        "type=\"password\"",
        "name=\"form\" value=\"FORM\"",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
    let ticket = Look {
        ticket: Some("TICKET"),
        ..LOOK
    };
    let page = approval(&report("{}"), ticket);
    assert!(page.contains("TICKET") && !page.contains("type=\"password\""));
    let mut over = report("{}");
    over.status = "denied".into();
    assert!(!approval(&over, LOOK).contains("value=\"approve\""));
}

#[test]
fn what_is_cut_is_not_called_whole_and_what_stands_says_so() {
    let mut over = report("{}");
    assert!(approval(&over, LOOK).contains("bytes, all of them;"));
    over.status = "used".into();
    over.arguments_whole = false;
    over.standing = Some(7_200);
    over.uses = 2;
    let page = approval(&over, LOOK);
    assert!(page.contains("bytes, not all of them shown;"));
    assert!(page.contains("7200 s; used 2 times"));
}

proptest! {
    #[test]
    fn spreading_adds_nothing_but_space_between_tokens(value in "[a-z\\\\\"{}:,\u{e9} ]{0,40}", n in 0..9_u32) {
        let json = serde_json::json!({"k": value, "l": [n, {"m": value}], "e": []}).to_string();
        let spread = spread(&json);
        let again: serde_json::Value = serde_json::from_str(&spread).unwrap();
        prop_assert_eq!(again.to_string(), json);
    }
}
