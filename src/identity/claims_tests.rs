//! What is believed of a verified token.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::KeySource;
use crate::identity::Algorithm;

const NOW: Duration = Duration::from_secs(1_000_000);
const HERE: &str = "https://tools.example/mcp";

fn issuer() -> Issuer {
    let agent = |name: &str| {
        format!("spiffe://login.example/agent/{name}")
            .parse()
            .unwrap()
    };
    Issuer {
        issuer: "https://login.example".into(),
        audience: None,
        keys: KeySource::File("keys.json".into()),
        algorithms: vec![Algorithm::EdDsa],
        leeway: Duration::from_secs(30),
        spiffe: false,
        trust_domain: "login.example".into(),
        agent_claim: AgentClaim::Azp,
        user_claim: Some("sub".into()),
        user_prefix: String::new(),
        agents: BTreeMap::from([
            ("client-1".into(), agent("one")),
            ("client-2".into(), agent("two")),
        ]),
        agent_prefix: None,
        scope: None,
    }
}

fn spiffe() -> Issuer {
    Issuer {
        spiffe: true,
        agent_claim: AgentClaim::Sub,
        user_claim: None,
        agent_prefix: Some("build-".into()),
        ..issuer()
    }
}

fn good() -> Value {
    json!({
        "iss": "https://login.example", "aud": HERE, "exp": 1_000_300, "iat": 1_000_000,
        "azp": "client-1", "sub": "ada",
    })
}

fn with(more: Value) -> Claims {
    let mut claims = good();
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims.as_object().unwrap().clone()
}

fn reason(issuer: &Issuer, more: Value) -> Option<Reason> {
    judge(issuer, HERE, Some("JWT"), &with(more), NOW)
        .err()
        .map(|fault| fault.reason)
}

#[test]
fn agent_and_person_are_kept_apart() {
    let established = judge(&issuer(), HERE, Some("at+jwt"), &with(json!({})), NOW).unwrap();
    assert_eq!(
        established.agent.as_str(),
        "spiffe://login.example/agent/one"
    );
    assert_eq!(established.user.as_deref(), Some("ada"));
    assert_eq!(established.chain, []);
    let prefixed = Issuer {
        user_prefix: "login/".into(),
        ..issuer()
    };
    let established = judge(&prefixed, HERE, None, &with(json!({})), NOW).unwrap();
    assert_eq!(established.user.as_deref(), Some("login/ada"));
    // A client's own token has nobody behind it.
    let own = judge(
        &issuer(),
        HERE,
        None,
        &with(json!({"sub": "client-1"})),
        NOW,
    )
    .unwrap();
    assert_eq!(own.user, None);
}

#[test]
fn a_token_is_for_this_server_or_for_nobody() {
    for aud in [
        json!("https://tools.example/"),
        json!("https://tools.example/mcp/"),
        json!("HTTPS://tools.example/mcp"),
        json!("https://tools.example/mcp https://other.example"),
        json!(["https://other.example"]),
        json!([]),
        json!([HERE, 7]),
        json!([[HERE]]),
        json!({ HERE: HERE }),
        json!(7),
        Value::Null,
    ] {
        let found = reason(&issuer(), json!({ "aud": aud }));
        assert_eq!(found, Some(Reason::TokenAudience), "{aud}");
    }
    assert_eq!(reason(&issuer(), json!({ "aud": [HERE] })), None);
    assert_eq!(reason(&issuer(), json!({"aud": [HERE, "x"]})), None);
}

#[test]
fn times_hold_within_the_leeway_and_no_further() {
    for (more, expected) in [
        (json!({"exp": 999_971}), None),
        (json!({"exp": 999_970}), Some(Reason::TokenExpired)),
        (json!({"exp": null}), Some(Reason::TokenInvalid)),
        (json!({"exp": "1000300"}), Some(Reason::TokenInvalid)),
        (json!({"exp": -1}), Some(Reason::TokenInvalid)),
        (json!({"exp": 1e300}), Some(Reason::TokenInvalid)),
        (json!({"nbf": 1_000_030}), None),
        (json!({"nbf": 1_000_031}), Some(Reason::TokenExpired)),
        (json!({"iat": 1_000_031}), Some(Reason::TokenExpired)),
    ] {
        assert_eq!(reason(&issuer(), more.clone()), expected, "{more}");
    }
}

#[test]
fn what_is_no_access_token_of_a_known_agent_is_refused() {
    for (more, expected) in [
        (
            json!({"iss": "https://login.example/"}),
            Reason::TokenInvalid,
        ),
        (json!({"iss": null}), Reason::TokenInvalid),
        (json!({"azp": null}), Reason::TokenInvalid),
        (json!({"azp": ["client-1"]}), Reason::TokenInvalid),
        (json!({"azp": "client-3"}), Reason::IdentityUnknown),
        (json!({"azp": "Client-1"}), Reason::IdentityUnknown),
        (json!({"cnf": {"jkt": "x"}}), Reason::TokenInvalid),
        (json!({"sub": "a b"}), Reason::TokenInvalid),
        (json!({"sub": "spiffe://x/agent/a"}), Reason::TokenInvalid),
    ] {
        assert_eq!(reason(&issuer(), more.clone()), Some(expected), "{more}");
    }
    for kind in ["logout+jwt", "dpop+jwt", "secevent+jwt", ""] {
        assert!(judge(&issuer(), HERE, Some(kind), &with(json!({})), NOW).is_err());
    }
}

#[test]
fn a_persons_token_is_no_agent() {
    let by_subject = Issuer {
        agent_claim: AgentClaim::Sub,
        user_claim: None,
        ..issuer()
    };
    // The client acts for someone; that someone is named like an agent.
    let found = reason(&by_subject, json!({"sub": "client-2"}));
    assert_eq!(found, Some(Reason::IdentityKind));
    assert_eq!(reason(&by_subject, json!({"sub": "client-1"})), None);
}

#[test]
fn a_workload_is_of_its_issuers_trust_domain() {
    for (sub, known) in [
        ("spiffe://login.example/agent/build-7", true),
        ("spiffe://login.example/agent/other", false),
        ("spiffe://login.example/agent/build-7/x", false),
        ("spiffe://login.example.evil/agent/build-7", false),
        ("spiffe://other.example/agent/build-7", false),
        ("spiffe://tollgate.local/agent/build-7", false),
        ("spiffe://login.example/agent/build-\u{430}", false),
        ("build-7", false),
    ] {
        let found = reason(&spiffe(), json!({"sub": sub, "iss": null}));
        assert_eq!(found.is_none(), known, "{sub}");
    }
    // An issuer that is named must be the right one all the same.
    let sub = "spiffe://login.example/agent/build-7";
    let found = reason(
        &spiffe(),
        json!({"sub": sub, "iss": "https://evil.example"}),
    );
    assert_eq!(found, Some(Reason::TokenInvalid));
}

#[test]
fn a_pattern_gives_nobody_the_name_of_another() {
    let mut issuer = issuer();
    issuer.agent_prefix = Some("o".into());
    assert_eq!(reason(&issuer, json!({"azp": "other"})), None);
    let taken = reason(&issuer, json!({"azp": "one"}));
    assert_eq!(taken, Some(Reason::IdentityUnknown));
    issuer.agent_prefix = Some(String::new());
    let whole = reason(&issuer, json!({"azp": "spiffe://login.example/agent/x"}));
    assert_eq!(whole, Some(Reason::IdentityUnknown));
}

#[test]
fn actors_become_the_chain_in_their_order() {
    let chain = |act: Value| {
        judge(&issuer(), HERE, None, &with(json!({ "act": act })), NOW)
            .map(|e| {
                e.chain
                    .iter()
                    .map(|a| a.name().to_owned())
                    .collect::<Vec<_>>()
            })
            .map_err(|fault| fault.reason)
    };
    assert_eq!(chain(json!({"sub": "client-1"})), Ok(vec![]));
    assert_eq!(
        chain(json!({"sub": "client-1", "act": {"sub": "client-2"}})),
        Ok(vec!["two".into()])
    );
    assert_eq!(chain(json!({"azp": "client-2"})), Ok(vec!["two".into()]));
    assert_eq!(
        chain(json!({"sub": "stranger"})),
        Err(Reason::IdentityUnknown)
    );
    assert_eq!(chain(json!("client-2")), Err(Reason::TokenInvalid));
    let looped = json!({"sub": "client-2", "act": {"sub": "client-1"}});
    assert_eq!(chain(looped), Err(Reason::HandoffLoop));
    let mut deep = json!({"sub": "client-2"});
    for _ in 0..12 {
        deep = json!({"sub": "client-2", "act": deep});
    }
    assert_eq!(chain(deep), Err(Reason::HandoffDepth));
}

#[test]
fn a_scope_is_one_of_the_words() {
    let mut issuer = issuer();
    assert!(has_scope(&issuer, &with(json!({}))));
    issuer.scope = Some("tools".into());
    for (more, has) in [
        (json!({}), false),
        (json!({"scope": "a tools"}), true),
        (json!({"scope": "a toolsx"}), false),
        (json!({"scp": ["tools"]}), true),
        (json!({"scope": {"tools": 1}}), false),
    ] {
        assert_eq!(has_scope(&issuer, &with(more.clone())), has, "{more}");
    }
}

proptest! {
    #[test]
    fn no_claim_makes_it_panic(name in "iss|aud|exp|nbf|iat|azp|sub|act|cnf|scope", text in ".{0,40}", number in any::<f64>(), which in 0..4) {
        let value = match which {
            0 => json!(text),
            1 => json!(number),
            2 => json!([text, number]),
            _ => json!({"sub": text, "act": {"sub": number}}),
        };
        for issuer in [issuer(), spiffe()] {
            let _ = judge(&issuer, HERE, Some(&text), &with(json!({ name.clone(): value.clone() })), NOW);
        }
    }
}
