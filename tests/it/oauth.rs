//! Tokens of other issuers: a real host over HTTP, real signatures, a real server of keys.

use serde_json::{Value, json};
use tollgate::host::Door;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::binary::run;
use crate::harness::mcp::Client;
use crate::harness::served::{HERE, KeyServer, Served, Signer, claims, code, foreign, set};
use crate::harness::{Setup, intents};

/// Whoever is established may call; what is tested is who that is.
const ANYONE: &str = r#"
@id("anyone")
permit (principal, action in Action::"call", resource in Plugin::"probe");
"#;

const AGENTS: &str = "[issuer.agents]\nclient-1 = \"reviewer\"\nclient-2 = \"builder\"\n";

fn issuer(keys: &str) -> String {
    format!("[[issuer]]\nissuer = \"https://login.example\"\nuser = \"sub\"\n{keys}\n")
}

async fn by_url(server: &KeyServer, more: &str) -> Served {
    let keys = format!(
        "jwks_url = \"http://127.0.0.1:{}/jwks\"",
        server.address.port()
    );
    let toml = format!("{}{more}{AGENTS}", issuer(&keys));
    Served::start(Setup::probe_under(ANYONE).toml(&toml)).await
}

async fn tried(served: &Served, token: &str) -> (u16, String) {
    let answer = served
        .call(token, &[], "probe_echo", &json!({"text": "x"}))
        .await;
    let challenge = answer
        .headers
        .get("www-authenticate")
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default();
    (answer.status, challenge)
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_is_an_agent_on_behalf_of_a_person() {
    let (one, two) = (Signer::ed(1), Signer::p256());
    let server = KeyServer::start(&set(&[one.jwk("a"), two.jwk("b")])).await;
    let served = by_url(&server, "").await;
    for (key, id) in [(&one, "a"), (&two, "b")] {
        let token = key.sign(id, &json!({}), &claims(&json!({})));
        assert_eq!(tried(&served, &token).await, (200, String::new()), "{id}");
    }
    assert_eq!(server.asked(), 1, "keys are kept");
    let callers: Vec<_> = served
        .records()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Intent(intent) => Some(intent.caller),
            _ => None,
        })
        .collect();
    assert_eq!(callers.len(), 2);
    for caller in callers {
        assert_eq!(caller.agent, foreign("reviewer"));
        assert_eq!(caller.user.as_deref(), Some("ada"));
        assert!(caller.chain.is_empty());
    }
    // At the people's door it is an agent's token, though there is a person behind it.
    let token = one.sign("a", &json!({}), &claims(&json!({})));
    let refusal = served.host.person(&token, Door::Admin).unwrap_err();
    assert_eq!(refusal.reason, Reason::IdentityKind);
    // Agents of an exchange before it are the chain, and stand in the record.
    let act = json!({"act": {"sub": "client-1", "act": {"sub": "client-2"}}});
    let token = one.sign("a", &json!({}), &claims(&act));
    assert_eq!(tried(&served, &token).await.0, 200);
    let chain = served
        .records()
        .into_iter()
        .rev()
        .find_map(|record| match record.event {
            Event::Intent(intent) => Some(intent.caller.chain),
            _ => None,
        });
    assert_eq!(chain, Some(vec![foreign("builder")]));
}

#[tokio::test]
pub(crate) async fn a_token_without_trust_gets_a_challenge_that_says_where_to_get_one() {
    let _row = crate::attacks::stands_for("M03");
    let _row = crate::attacks::stands_for("M04");
    let key = Signer::ed(1);
    let server = KeyServer::start(&set(&[key.jwk("a")])).await;
    let served = by_url(&server, "scope = \"tools\"\n").await;
    let metadata =
        "resource_metadata=\"https://tools.example/.well-known/oauth-protected-resource/mcp\"";
    let answer = served
        .client("")
        .post(&[("authorization", "")], "{}")
        .await
        .unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.headers["www-authenticate"],
        format!("Bearer realm=\"tollgate\", {metadata}")
    );
    // Another server's token: M04.
    let sign = |more: Value| key.sign("a", &json!({}), &claims(&more));
    for aud in [
        json!("https://other.example"),
        Value::Null,
        json!(["https://other.example"]),
        json!([[HERE]]),
    ] {
        let (status, challenge) =
            tried(&served, &sign(json!({"aud": aud, "scope": "tools"}))).await;
        assert_eq!(status, 401);
        assert_eq!(
            challenge,
            format!(
                "Bearer realm=\"tollgate\", {metadata}, error=\"invalid_token\", error_description=\"token.audience\""
            )
        );
    }
    let (status, challenge) = tried(&served, &sign(json!({}))).await;
    assert_eq!(status, 403);
    assert!(
        challenge.ends_with("error=\"insufficient_scope\", scope=\"tools\""),
        "{challenge}"
    );
    assert_eq!(
        tried(&served, &sign(json!({"scope": "x tools"}))).await.0,
        200
    );

    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let answer = served
            .client("")
            .send("GET", path, &[("authorization", "")], "")
            .await
            .unwrap();
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            document,
            json!({
                "resource": HERE, "authorization_servers": ["https://login.example"],
                "bearer_methods_supported": ["header"], "resource_name": "Tollgate",
                "scopes_supported": ["tools"],
            })
        );
    }
}

/// M05. A trick gets nothing but a 401, and makes the host ask nobody but the issuer that is pinned.
#[tokio::test]
pub(crate) async fn tricks_with_tokens_are_refused() {
    let _row = crate::attacks::stands_for("M05");
    let (key, stranger) = (Signer::ed(1), Signer::ed(9));
    let server = KeyServer::start(&set(&[key.jwk("a")])).await;
    let evil = KeyServer::start(&set(&[stranger.jwk("a")])).await;
    let served = by_url(&server, "").await;
    let good = key.sign("a", &json!({}), &claims(&json!({})));
    assert_eq!(tried(&served, &good).await.0, 200);
    let url = format!("http://127.0.0.1:{}/jwks", evil.address.port());
    let now = crate::harness::NOW.as_secs();
    let body = claims(&json!({})).to_string();
    let parts: Vec<&str> = good.split('.').collect();
    let none = |name: &str| {
        use base64::Engine as _;
        let header = json!({"alg": name, "kid": "a"}).to_string();
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        format!("{}.{}.", engine.encode(header), parts[1])
    };
    let tokens = [
        none("none"),
        none("None"),
        none("HS256"),
        key.sign_text(r#"{"alg":"HS256","kid":"a"}"#, &body),
        key.sign_text(r#"{"alg":"ES256","kid":"a"}"#, &body),
        key.sign_text(r#"{"alg":"RS256","kid":"a"}"#, &body),
        key.sign_text(r#"{"alg":"EdDSA","alg":"none","kid":"a"}"#, &body),
        key.sign("../../a", &json!({}), &claims(&json!({}))),
        key.sign("/dev/null", &json!({}), &claims(&json!({}))),
        key.sign("a' OR '1'='1", &json!({}), &claims(&json!({}))),
        key.sign(&url, &json!({}), &claims(&json!({}))),
        stranger.sign("a", &json!({"jku": url}), &claims(&json!({}))),
        stranger.sign("a", &json!({"x5u": url}), &claims(&json!({}))),
        stranger.sign("a", &json!({"jwk": stranger.jwk("a")}), &claims(&json!({}))),
        stranger.sign("a", &json!({}), &claims(&json!({}))),
        stranger.sign("a", &json!({}), &claims(&json!({"iss": url}))),
        key.sign("a", &json!({"crit": ["exp"]}), &claims(&json!({}))),
        key.sign("a", &json!({"typ": "logout+jwt"}), &claims(&json!({}))),
        key.sign("a", &json!({}), &claims(&json!({"exp": now - 31}))),
        key.sign("a", &json!({}), &claims(&json!({"exp": null}))),
        key.sign("a", &json!({}), &claims(&json!({"nbf": now + 31}))),
        key.sign(
            "a",
            &json!({}),
            &claims(&json!({"iss": "https://login.example/"})),
        ),
        key.sign("a", &json!({}), &claims(&json!({"azp": "client-3"}))),
        key.sign("a", &json!({}), &claims(&json!({"azp": null}))),
        key.sign("a", &json!({}), &claims(&json!({"cnf": {"jkt": "x"}}))),
        key.sign("a", &json!({}), &claims(&json!({"pad": "x".repeat(9_000)}))),
        key.sign_text(r#"{"alg":"EdDSA","kid":"a"}"#, "[]"),
        key.sign_text(
            r#"{"alg":"EdDSA","kid":"a"}"#,
            &body.replacen('{', r#"{"azp":"client-2","#, 1),
        ),
        format!("{good}A"),
        format!("{}.{}", parts[0], parts[1]),
    ];
    for (at, token) in tokens.iter().enumerate() {
        let (status, _) = tried(&served, token).await;
        assert_eq!(status, 401, "token {at}: {token}");
    }
    assert_eq!(evil.asked(), 0);
    // Unknown keys make it look once, and not for each token.
    assert!(server.asked() <= 2, "{}", server.asked());
    let ran = intents(served.records());
    assert_eq!(ran.len(), 1, "only the good one: {ran:?}");
}

#[tokio::test]
async fn keys_rotate_and_an_issuer_that_is_down_is_trusted_for_a_while() {
    let (old, new) = (Signer::ed(1), Signer::ed(2));
    let server = KeyServer::start(&set(&[old.jwk("old")])).await;
    let served = by_url(&server, "").await;
    let long = claims(&json!({"exp": crate::harness::NOW.as_secs() + 100_000}));
    let (by_old, by_new) = (
        old.sign("old", &json!({}), &long),
        new.sign("new", &json!({}), &long),
    );
    assert_eq!(tried(&served, &by_old).await.0, 200);
    server.serves(Some(&set(&[old.jwk("old"), new.jwk("new")])));
    // Too soon after the last look.
    assert_eq!(tried(&served, &by_new).await.0, 401);
    served.at(11);
    assert_eq!(tried(&served, &by_new).await.0, 200);
    assert_eq!(server.asked(), 2);
    // The old key is withdrawn: noticed when the set is no longer fresh.
    server.serves(Some(&set(&[new.jwk("new")])));
    assert_eq!(tried(&served, &by_old).await.0, 200);
    served.at(11 + 600);
    assert_eq!(tried(&served, &by_old).await.0, 401);
    assert_eq!(tried(&served, &by_new).await.0, 200);
    // Down: what was read is good for an hour, and then nobody is believed, and told to come again.
    server.serves(None);
    served.at(11 + 600 + 3_599);
    assert_eq!(tried(&served, &by_new).await.0, 200);
    served.at(11 + 600 + 3_600);
    assert_eq!(tried(&served, &by_new).await.0, 503);
    server.serves(Some("{\"keys\":[]}"));
    served.at(11 + 600 + 3_620);
    assert_eq!(tried(&served, &by_new).await.0, 503);
    server.serves(Some(&set(&[new.jwk("new")])));
    served.at(11 + 600 + 3_640);
    assert_eq!(tried(&served, &by_new).await.0, 200);
}

#[tokio::test]
async fn a_workload_shows_its_identity_document() {
    let key = Signer::p256();
    let server = KeyServer::start(&set(&[key.jwk("w")])).await;
    let toml = format!(
        "[[issuer]]\nissuer = \"https://spire.example\"\nspiffe = true\ntrust_domain = \"login.example\"\nalgorithms = [\"ES256\"]\njwks_url = \"http://127.0.0.1:{}/jwks\"\nagent_pattern = \"build-*\"\n[issuer.agents]\n\"spiffe://login.example/ns/prod/sa/review\" = \"reviewer\"\n",
        server.address.port()
    );
    let served = Served::start(Setup::probe_under(ANYONE).toml(&toml)).await;
    let now = crate::harness::NOW.as_secs();
    let svid = |sub: &str, aud: &str| {
        key.sign(
            "w",
            &json!({"typ": "JWT"}),
            &json!({"sub": sub, "aud": [aud], "exp": now + 60}),
        )
    };
    for (sub, aud, status) in [
        ("spiffe://login.example/agent/build-7", HERE, 200),
        ("spiffe://login.example/ns/prod/sa/review", HERE, 200),
        ("spiffe://login.example/ns/prod/sa/other", HERE, 401),
        ("spiffe://login.example/agent/other", HERE, 401),
        ("spiffe://tollgate.local/agent/alice", HERE, 401),
        ("spiffe://login.example.evil/agent/build-7", HERE, 401),
        (
            "spiffe://login.example/agent/build-7",
            "spiffe://login.example/agent/x",
            401,
        ),
    ] {
        assert_eq!(
            tried(&served, &svid(sub, aud)).await.0,
            status,
            "{sub} {aud}"
        );
    }
    // There is no server that a client could ask for one.
    let answer = served
        .client("")
        .send(
            "GET",
            "/.well-known/oauth-protected-resource",
            &[("authorization", "")],
            "",
        )
        .await
        .unwrap();
    assert_eq!(answer.status, 404);
}

/// J01, across issuers: a key that two of them have speaks for neither.
#[tokio::test]
pub(crate) async fn two_issuers_with_one_key_are_not_both_believed() {
    let _row = crate::attacks::stands_for("J01");
    let key = Signer::ed(1);
    let server = KeyServer::start(&set(&[key.jwk("a")])).await;
    let port = server.address.port();
    let toml = format!(
        "{}{AGENTS}\n[[issuer]]\nissuer = \"https://other.example\"\njwks_url = \"http://127.0.0.1:{port}/jwks\"\n[issuer.agents]\nclient-1 = \"reviewer\"\n",
        issuer(&format!("jwks_url = \"http://127.0.0.1:{port}/jwks\""))
    );
    let served = Served::start(Setup::probe_under(ANYONE).toml(&toml)).await;
    let token = key.sign("a", &json!({}), &claims(&json!({})));
    assert_eq!(tried(&served, &token).await.0, 200);
    let other = key.sign(
        "a",
        &json!({}),
        &claims(&json!({"iss": "https://other.example"})),
    );
    assert_eq!(tried(&served, &other).await.0, 503);
    let ran = intents(served.records());
    assert_eq!(ran.len(), 1, "the one that came first: {ran:?}");
    assert_eq!(ran[0].caller.agent, foreign("reviewer"));
}

/// M06: a session of the older revisions belongs to the agent and the person of its creation, and so does a job.
#[tokio::test]
pub(crate) async fn a_session_is_of_one_agent_and_one_person() {
    let _row = crate::attacks::stands_for("M06");
    let key = Signer::ed(1);
    let server = KeyServer::start(&set(&[key.jwk("a")])).await;
    let served = by_url(&server, "").await;
    let token =
        |sub: &str, azp: &str| key.sign("a", &json!({}), &claims(&json!({"sub": sub, "azp": azp})));
    let ada = served.client(&token("ada", "client-1"));
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let answer = ada.post(&[], hello.to_string()).await.unwrap();
    let session = answer.headers["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    let within = |client: Client| {
        let (session, ready) = (session.clone(), ready.clone());
        async move {
            let headers = [
                ("mcp-session-id", session.as_str()),
                ("mcp-protocol-version", "2025-11-25"),
            ];
            client.post(&headers, ready).await.unwrap().status
        }
    };
    assert_eq!(within(ada).await, 202);
    assert_eq!(within(served.client(&token("eve", "client-1"))).await, 404);
    assert_eq!(within(served.client(&token("ada", "client-2"))).await, 404);
    // Nor does the handle of a job give another anything.
    crate::jobs::others_find_none().await;
}

/// M12, M13: nothing to register at, and nothing that a client names is fetched.
#[tokio::test]
pub(crate) async fn it_is_no_authorization_server() {
    let _row = crate::attacks::stands_for("M12");
    let _row = crate::attacks::stands_for("M13");
    let key = Signer::ed(1);
    let server = KeyServer::start(&set(&[key.jwk("a")])).await;
    let elsewhere = KeyServer::start("{}").await;
    let served = by_url(&server, "").await;
    for path in [
        "/register",
        "/authorize",
        "/callback",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        for method in ["GET", "POST"] {
            let answer = served
                .client("")
                .send(method, path, &[("authorization", "")], "")
                .await
                .unwrap();
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    let url = format!("http://127.0.0.1:{}/x", elsewhere.address.port());
    let token = key.sign(
        "a",
        &json!({}),
        &claims(&json!({"resource_metadata": url, "iss": url})),
    );
    assert_eq!(tried(&served, &token).await.0, 401);
    for name in ["resource_metadata", "client_id", "redirect_uri", "jwks_uri"] {
        let token = key.sign("a", &json!({}), &claims(&json!({})));
        let (status, _) = served.exchange(&token, None, &[(name, url.as_str())]).await;
        assert_eq!(status, 400, "{name}");
    }
    assert_eq!(elsewhere.asked(), 0);
}

/// Without issuers there is only what the operator hands out, and nothing is said of where to get more.
#[tokio::test]
async fn own_tokens_work_without_any_issuer() {
    let served = Served::start(Setup::probe_under(ANYONE)).await;
    let token = served.agent("alice");
    let answer = served
        .call(&token, &[], "probe_echo", &json!({"text": "x"}))
        .await;
    assert_eq!(code(&answer), "ok");
    let (status, challenge) = tried(&served, "tg_none").await;
    assert_eq!(
        (status, challenge.as_str()),
        (401, "Bearer realm=\"tollgate\", error=\"invalid_token\"")
    );
}

/// X14. Neither a claim that describes a person nor a person's address names an agent: `check` says
/// where, and a host does not start so. A token that is good for both is recorded with both apart.
#[tokio::test]
pub(crate) async fn a_personal_token_is_never_an_agents_identity() {
    let _row = crate::attacks::stands_for("X14");
    for (more, says) in [
        ("agent = \"email\"\n", "may describe a person"),
        ("agent = \"sub\"\n", "are one claim"),
        (
            "[issuer.agents]\n\"ada@example.org\" = \"reviewer\"\n",
            "a person's address",
        ),
    ] {
        let toml = format!("{}{more}", issuer("jwks = \"keys.json\""));
        let (_folder, home) = Setup::empty().toml(&toml).make().await;
        let checked = run(&home, &["check"]).await;
        assert_ne!(checked.code, 0, "{more}: {checked:?}");
        let said = format!("{}{}", checked.out, checked.err);
        assert!(
            said.contains("tollgate.toml:") && said.contains(says),
            "{more}: {said}"
        );
    }
    let signer = Signer::ed(1);
    let server = KeyServer::start(&set(&[signer.jwk("a")])).await;
    let served = by_url(&server, "").await;
    let token = signer.sign("a", &json!({}), &claims(&json!({})));
    assert_eq!(tried(&served, &token).await.0, 200);
    // What a person approves with is nobody's here, and that it was tried is written down.
    let ada = "ada".parse().unwrap();
    let own = served.host.people().add(&ada, false, None).unwrap();
    assert_eq!(tried(&served, own.token.expose()).await.0, 401);
    let refused = served.records().into_iter();
    let refused: Vec<_> = refused
        .filter_map(|record| match record.event {
            Event::Changed(change) if change.change == "identity.refused" => change.subject,
            _ => None,
        })
        .collect();
    assert_eq!(refused, ["ada"]);
    let ran = intents(served.records());
    assert_eq!(ran.len(), 1);
    assert_eq!(ran[0].caller.agent.name(), "reviewer");
    let user = ran[0].caller.user.as_deref();
    assert!(user.is_some_and(|user| !user.contains("reviewer")));
}
