//! Tables of secrets: what can be written, and what can't.

use std::path::Path;

use super::super::Config;
use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/h/tollgate.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn every_source_can_be_written() {
    let config = parse(
        r#"
        [vault]
        address = "https://vault.internal:8200/"
        role_id = "r"
        secret_id_file = "secret-id"
        [leases]
        pending = 5
        ttl = "10min"
        [secret.a.kv]
        source = "vault"
        path = "secret/data/app"
        field = "key"
        [secret.a.creds]
        source = "vault"
        path = "rabbitmq/creds/r"
        field = "password"
        user_field = "username"
        per = "task"
        ttl = "5min"
        uses = 3
        [secret.a.ring]
        source = "keyring"
        service = "tollgate"
        account = "a"
        [secret.a.oauth]
        source = "oauth"
        token_url = "https://id.example/token/"
        revocation_url = "https://id.example/revoke"
        client_id = "c"
        [secret.a.jwt]
        source = "jwt"
        issuer = "i"
        subject = "s"
        audience = "https://api.example"
        [secret.a.app]
        source = "github-app"
        app = "1"
        installation = 2
        repositories = ["r"]
        permissions = { contents = "read" }
        "#,
    )
    .unwrap();
    let a = "a".parse().unwrap();
    let dynamic = |name| match config.secret_place(&a, name) {
        SecretPlace::Vault(vault) => vault.dynamic,
        other => panic!("{other:?}"),
    };
    assert!(!dynamic("kv") && dynamic("creds"));
    match config.secret_place(&a, "oauth") {
        SecretPlace::OAuth(oauth) => {
            assert_eq!(oauth.token_url, "https://id.example/token/", "as it is");
            let revocation_url = oauth.revocation_url.as_deref();
            assert_eq!(revocation_url, Some("https://id.example/revoke"));
        }
        other => panic!("{other:?}"),
    }
    let terms = config.secret_terms(&a, "creds");
    assert_eq!(
        (terms.per_task, terms.ttl, terms.uses),
        (true, Some(Duration::from_secs(300)), Some(3))
    );
    assert_eq!(config.leases.most_pending, 5);
    let vault = config.vault.as_ref().unwrap();
    assert_eq!(vault.address, "https://vault.internal:8200");
    assert_eq!(
        vault.login,
        VaultLogin::AppRole {
            mount: "approle".into(),
            role_id: "r".into(),
            secret_id_file: "/h/secret-id".into(),
        }
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (table, said) in [
        ("source = \"vault\"\npath = \"a/b\"", "needs `field`"),
        (
            "source = \"vault\"\npath = \"/v1/a\"\nfield = \"x\"",
            "without `/v1/`",
        ),
        (
            "source = \"vault\"\npath = \"a/../b\"\nfield = \"x\"",
            "without `/v1/`",
        ),
        (
            "source = \"jwt\"\nissuer = \"i\"\nsubject = \"s\"\naudience = \"a\"\npath = \"x\"",
            "no use for `path`",
        ),
        (
            "source = \"oauth\"\ntoken_url = \"https://u:p@x/\"\nclient_id = \"c\"",
            "no URL",
        ),
        (
            "source = \"oauth\"\ntoken_url = \"https://x/\"\nclient_id = \"c\"\nrevocation_url = \"x\"",
            "`revocation_url` is no URL",
        ),
        (
            "source = \"jwt\"\nissuer = \"i\"\nsubject = \"s\"\naudience = \"a\"\nrevocation_url = \"https://x/\"",
            "no use for `revocation_url`",
        ),
        ("uses = 0", "`uses` is 0"),
        ("ttl = \"0s\"", "`ttl`"),
        (
            "source = \"github-app\"\napp = \"1\"",
            "needs `installation`",
        ),
    ] {
        let error = parse(&format!("[secret.a.b]\n{table}")).unwrap_err();
        assert!(error.contains(said), "{table}: {error}");
    }
    let both = "[vault]\naddress = \"https://v\"\ntoken_file = \"t\"\nrole_id = \"r\"";
    assert!(parse(both).unwrap_err().contains("token_file"));
}
