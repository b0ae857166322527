//! Access tokens of a real authorization server (the npm package `oidc-provider`), to the real program.

use serde_json::{Value, json};
use tollgate::egress::{OutboundConfig, OwnBounds, OwnClient};

use crate::harness::Setup;
use crate::harness::binary::Daemon;
use crate::servers::node;

const POLICY: &str = r#"
@id("anyone")
permit (principal, action in Action::"call", resource in Plugin::"probe");
"#;

const HERE: &str = "https://tools.example/mcp";

/// A token that the server gives `client` for `resource`.
async fn access_token(issuer: &str, client: &str, resource: &str) -> String {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", client)
        .append_pair("client_secret", "canary-of-the-client")
        .append_pair("scope", "tools")
        .append_pair("resource", resource)
        .finish();
    let request = http::Request::post(format!("{issuer}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.into())
        .unwrap();
    let clock = std::sync::Arc::new(tollgate::clock::SystemClock);
    let answer = OwnClient::new(&OutboundConfig::default(), clock)
        .unwrap()
        .send(request, OwnBounds::default())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(answer.body()).unwrap();
    answer["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

#[tokio::test]
async fn an_access_token_of_a_real_server_calls_a_tool() {
    for alg in ["RS256", "PS256", "ES256", "EdDSA"] {
        let (said, _server) = node("access.mjs", &["canary-of-the-client", alg]).await;
        let issuer = said["issuer"].as_str().unwrap();
        let toml = format!(
            "[server]\nresource = \"{HERE}\"\n[[issuer]]\nissuer = \"{issuer}\"\njwks_url = \"{issuer}/jwks\"\nalgorithms = [\"{alg}\"]\nagent = \"client_id\"\nuser = \"sub\"\nscope = \"tools\"\n[issuer.agents]\ntollgate-agent = \"worker\"\n"
        );
        let (folder, home) = Setup::probe_under(POLICY).toml(&toml).make().await;
        let mut daemon = Daemon::start(&home).await;
        let token = access_token(issuer, "tollgate-agent", HERE).await;
        let result = daemon
            .client(&token)
            .call("probe_echo", &json!({"text": alg}))
            .await;
        assert_eq!(result["isError"], false, "{alg}: {result}");
        // Of the same server: for someone else, and of someone else.
        for token in [
            access_token(issuer, "tollgate-agent", "https://other.example/mcp").await,
            access_token(issuer, "stranger", HERE).await,
        ] {
            let answer = daemon
                .client(&token)
                .request("tools/list", json!({}))
                .await
                .unwrap();
            assert_eq!(answer.status, 401, "{alg}");
        }
        let records = crate::harness::records(&home.journal());
        let caller = records.into_iter().find_map(|record| match record.event {
            tollgate::journal::record::Event::Intent(intent) => Some(intent.caller),
            _ => None,
        });
        let caller = caller.unwrap();
        assert_eq!(caller.agent.name(), "worker");
        assert_eq!(
            caller.user, None,
            "a client's own token has no person behind it"
        );
        assert!(!daemon.said().contains(&token));
        daemon.stop().await;
        drop(folder);
    }
}
