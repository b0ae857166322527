use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::forms::SHORTEST;
use super::*;

const CANARY: &str = "s3cr3t/+canary?>~value";

fn lent(value: &[u8]) -> Lent {
    let lent = Lent::new();
    lent.lend("token", Arc::new(SecretValue::new(value.to_vec())));
    lent
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn percent(bytes: &[u8], every: usize) -> String {
    let one = |(i, b): (usize, &u8)| {
        if i % every == 0 || !b.is_ascii_alphanumeric() {
            format!("%{b:02x}")
        } else {
            char::from(*b).to_string()
        }
    };
    bytes.iter().enumerate().map(one).collect()
}

/// Texts that hold `value`, which is text, in every form that is searched for.
fn forms_of(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let mut forms = vec![
        value.to_owned(),
        hex::encode(bytes),
        hex::encode_upper(bytes),
        percent(bytes, 1),
        percent(bytes, 3),
        percent(percent(bytes, 1).as_bytes(), 1),
        serde_json::to_string(value).unwrap(),
        serde_json::to_string(&serde_json::to_string(value).unwrap()).unwrap(),
        value
            .chars()
            .map(|c| format!("\\u{:04x}", u32::from(c)))
            .collect(),
        STANDARD.encode(gzip(bytes)),
        URL_SAFE_NO_PAD.encode(gzip(format!("{{\"key\":\"{value}\"}}").as_bytes())),
        percent(STANDARD.encode(bytes).as_bytes(), 1),
    ];
    for before in 0..4 {
        for after in 0..4 {
            let around = [&b"abcd"[..before], bytes, &b"wxyz"[..after]].concat();
            forms.push(STANDARD.encode(&around));
            forms.push(URL_SAFE.encode(&around));
            forms.push(URL_SAFE_NO_PAD.encode(&around));
        }
    }
    let lines = STANDARD.encode(bytes);
    let lines: Vec<_> = lines
        .as_bytes()
        .chunks(5)
        .map(String::from_utf8_lossy)
        .collect();
    forms.push(lines.join("\r\n"));
    forms.push(lines.join("\\n"));
    forms
}

#[test]
fn nothing_lent_costs_nothing_and_changes_nothing() {
    let lent = Lent::new();
    assert_eq!(lent.redact(CANARY), (CANARY.into(), 0));
    assert_eq!(lent.finds_in_request(CANARY, [], b""), None);
    assert!(lent.searched().is_none());
}

#[test]
fn every_form_is_found_and_cut_out() {
    let lent = lent(CANARY.as_bytes());
    for form in forms_of(CANARY) {
        let text = format!("before:{form}: after");
        let (clean, count) = lent.redact(&text);
        assert!(count >= 1, "{text}");
        assert!(
            clean.starts_with("before:") && clean.ends_with(": after"),
            "{text} -> {clean}"
        );
        assert!(clean.contains("[redacted:token]"), "{clean}");
        assert_eq!(lent.redact(&clean), (clean.clone(), 0));
    }
}

#[test]
fn what_stands_around_it_stays() {
    let lent = lent(CANARY.as_bytes());
    let text = format!("a\nkey: {CANARY}\nb %20 \\n {}\n", hex::encode(CANARY));
    let (clean, count) = lent.redact(&text);
    assert_eq!(
        clean,
        "a\nkey: [redacted:token]\nb %20 \\n [redacted:token]\n"
    );
    assert_eq!(count, 2);
}

#[test]
fn gzip_is_opened_in_bytes() {
    let lent = lent(CANARY.as_bytes());
    let noise: Vec<u8> = (0..20_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    let inner = [noise.as_slice(), CANARY.as_bytes(), &noise].concat();
    let body = [b"start ".as_slice(), &gzip(&inner), b" end"].concat();
    let (clean, count) = lent.redact_bytes(&body);
    assert_eq!(
        (clean.as_ref(), count),
        (b"start [redacted:token] end".as_slice(), 1)
    );
    let harmless = [b"start ".as_slice(), &gzip(&noise), b" end"].concat();
    assert_eq!(lent.redact_bytes(&harmless).1, 0);
    // A header that leads nowhere does not hide the one after it.
    let decoy = [b"\x1f\x8b\x08".as_slice(), &gzip(&inner)].concat();
    assert_eq!(lent.redact_bytes(&decoy).1, 1);
    let decoy = format!("H4sIAAAA{}", STANDARD.encode(gzip(CANARY.as_bytes())));
    assert_eq!(lent.redact(&decoy).1, 1);
}

#[test]
fn what_inflates_without_end_counts_as_found() {
    let lent = lent(CANARY.as_bytes());
    let bomb = gzip(&vec![0; 40 << 20]);
    assert!(lent.finds_in_request("https://a/", [], &bomb).is_some());
    // Each start of a member is a try, and tries are counted too: a million of them is no search.
    let starts = b"\x1f\x8b\x08".repeat(1 << 20);
    assert!(lent.finds_in_request("https://a/", [], &starts).is_some());
}

#[test]
fn a_short_value_is_not_searched_for() {
    let lent = lent(b"12345");
    assert_eq!(SHORTEST, 6);
    assert_eq!(
        lent.redact("12345 and 12345"),
        ("12345 and 12345".into(), 0)
    );
}

#[test]
fn requests_are_searched_everywhere() {
    let lent = lent(b"AbCdEf-canary");
    let none: [(&str, &[u8]); 0] = [];
    let find = |url: &str| lent.finds_in_request(url, none, b"").map(|f| f.place);
    assert_eq!(find("https://a.example/x?y=z"), None);
    assert_eq!(find("https://a.example/x?q=AbCdEf-canary"), Some("the URL"));
    assert_eq!(find("https://a.example/AbCdEf%2dcanary"), Some("the URL"));
    assert_eq!(find("https://abcdef-canary.a.example/"), Some("the URL"));
    let header = |name: &str, value: &str| {
        let headers = [("accept", b"*/*".as_slice()), (name, value.as_bytes())];
        lent.finds_in_request("https://a/", headers, b"")
            .map(|f| f.place)
    };
    assert_eq!(header("cookie", "a=AbCdEf-canary"), Some("a header"));
    assert_eq!(header("x-abcdef-canary", ""), Some("a header"));
    assert_eq!(header("x", "abcdef"), None);
    let body = b"--x\r\nfilename=\"AbCdEf-canary\"\r\n";
    let found = lent.finds_in_request("https://a/", none, body).unwrap();
    assert_eq!(Refusal::from(found.clone()).reason, Reason::SecretInRequest);
    assert!(!Refusal::from(found).message.contains("token"));
}

#[test]
fn all_of_a_result_is_searched() {
    use crate::call::{Completion, Content, Media, ResourceBody};
    let lent = lent(CANARY.as_bytes());
    let text = || CANARY.to_owned();
    let media = Media {
        data: CANARY.into(),
        mime_type: text(),
        annotations: None,
    };
    let mut completion = Completion {
        content: vec![
            Content::Text {
                text: text(),
                annotations: None,
            },
            Content::Image(media.clone()),
            Content::Audio(media),
            Content::Resource {
                uri: text(),
                mime_type: Some(text()),
                body: ResourceBody::Blob(CANARY.into()),
                annotations: None,
            },
            Content::Link {
                uri: text(),
                name: text(),
                title: Some(text()),
                description: Some(text()),
                mime_type: Some(text()),
                size: None,
                annotations: None,
            },
        ],
        structured: Some(json!({"a": [CANARY, {CANARY: 1}], "b": true})),
        is_error: false,
        meta: serde_json::Map::from_iter([("x".into(), json!(CANARY))]),
    };
    assert_eq!(lent.redact_completion(&mut completion), 16);
    let shown = format!("{completion:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(
        completion.structured.unwrap()["a"][1]["[redacted:token]"],
        1
    );
}

#[test]
fn a_number_can_be_a_secret() {
    let lent = lent(b"12345678");
    let mut value = json!({"pin": 12_345_678, "other": 1});
    assert_eq!(lent.redact_json(&mut value), 1);
    assert_eq!(value, json!({"pin": "[redacted:token]", "other": 1}));
}

#[test]
fn values_that_overlap_are_both_cut_out() {
    let lent = lent(b"abcdefgh");
    lent.lend("other", Arc::new(SecretValue::new(b"efghijkl".to_vec())));
    assert_eq!(lent.redact("-abcdefghijkl-").0, "-[redacted:token]-");
    assert_eq!(lent.names().len(), 2);
    assert_eq!(format!("{lent:?}"), "[\"token\", \"other\"]");
}

proptest! {
    // Each case is some eighty searches.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_form_of_a_lent_value_survives(value in "[ -~é]{6,40}", around in "[a-z \n%\\\\]{0,12}") {
        prop_assume!(!"[redacted:token]".contains(&value));
        let lent = lent(value.as_bytes());
        for form in forms_of(&value) {
            let text = format!("{around}|{form}|{around}");
            let (clean, count) = lent.redact(&text);
            prop_assert!(count >= 1, "{}", text);
            prop_assert!(!clean.contains(&form), "{}", clean);
            prop_assert_eq!(lent.redact(&clean).1, 0, "{}", clean);
        }
    }

}

proptest! {
    #[test]
    fn text_without_it_is_unchanged(text in "[a-y \n%+\\\\\"é=]{0,200}") {
        let lent = lent(CANARY.as_bytes());
        prop_assert_eq!(lent.redact(&text), (text.as_str().into(), 0));
        prop_assert_eq!(lent.redact_bytes(text.as_bytes()), (text.as_bytes().into(), 0));
    }

    #[test]
    fn any_bytes_can_be_lent_and_searched(value in prop::collection::vec(any::<u8>(), 6..20), around in prop::collection::vec(any::<u8>(), 0..40)) {
        let lent = lent(&value);
        let body = [around.as_slice(), &value, &around].concat();
        let (clean, _) = lent.redact_bytes(&body);
        prop_assert!(!clean.windows(value.len()).any(|w| w == value));
        let text = String::from_utf8_lossy(&body);
        let _ = lent.redact(&text);
    }
}
