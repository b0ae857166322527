use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::entropy::SeededEntropy;

const CANARY: &str = "canary-9f86d081884c7d65";

fn secrets(config: &str) -> (tempfile::TempDir, Secrets) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path()).unwrap();
    home.create().unwrap();
    let config = Config::parse(&home.config(), config).unwrap();
    let entropy = Arc::new(SeededEntropy::default());
    let secrets = Secrets::with_variables(&home, &config, entropy, None, |name| {
        (name == "GITHUB_TOKEN").then(|| CANARY.into())
    });
    (dir, secrets)
}

/// The value, as it would be lent.
async fn get(secrets: &Secrets, plugin: &PluginName, name: &str) -> Result<SecretValue, Refusal> {
    let ask = Ask {
        plugin: plugin.clone(),
        name: name.to_owned(),
        lease: crate::id::LeaseId::generate(&SeededEntropy::default()).unwrap(),
        ttl: std::time::Duration::from_secs(60),
    };
    let (source, _) = secrets.source(plugin, name);
    let issued = source.issue(&ask, None).await.map_err(refused)?;
    Ok(issued.value)
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn each_source_gives_its_value() {
    let (dir, secrets) = secrets(
        r#"
        [secret.github.token]
        source = "env"
        variable = "GITHUB_TOKEN"
        [secret.github.unset]
        source = "env"
        variable = "UNSET"
        [secret.fetch.key]
        source = "file"
        path = "key"
        "#,
    );
    let (github, fetch) = ("github".parse().unwrap(), "fetch".parse().unwrap());
    assert_eq!(
        get(&secrets, &github, "token").await.unwrap().expose(),
        CANARY.as_bytes()
    );
    write(&dir.path().join("key"), "abc\n", 0o600);
    assert_eq!(get(&secrets, &fetch, "key").await.unwrap().expose(), b"abc");
    let stored = SecretValue::new(b"stored".to_vec());
    secrets.store().set(&fetch, "other", &stored).unwrap();
    assert_eq!(
        get(&secrets, &fetch, "other").await.unwrap().expose(),
        b"stored"
    );
    // Another plugin's is not there for this one.
    assert!(get(&secrets, &github, "key").await.is_err());
    assert!(get(&secrets, &fetch, "token").await.is_err());
}

#[tokio::test]
async fn missing_and_forbidden_are_one_to_the_plugin() {
    let (_dir, secrets) = secrets(
        "[secret.a.unset]\nsource = \"env\"\nvariable = \"UNSET\"\n[secret.a.gone]\nsource = \"file\"\npath = \"gone\"",
    );
    for name in ["nothing", "unset", "gone", "*", "../b"] {
        let refusal = get(&secrets, &"a".parse().unwrap(), name)
            .await
            .unwrap_err();
        assert_eq!(refusal.to_string(), not_granted().to_string());
        assert!(refusal.detail.is_some());
    }
}

#[tokio::test]
async fn a_file_that_others_can_read_is_not_used() {
    let (dir, secrets) = secrets("[secret.a.key]\nsource = \"file\"\npath = \"key\"");
    write(&dir.path().join("key"), CANARY, 0o644);
    let refusal = get(&secrets, &"a".parse().unwrap(), "key")
        .await
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::SecretUnavailable);
    assert!(refusal.detail.unwrap().contains("chmod 600"));
    write(&dir.path().join("key"), "\n", 0o600);
    assert!(get(&secrets, &"a".parse().unwrap(), "key").await.is_err());
}

#[tokio::test]
async fn no_debug_text_shows_a_value() {
    let (_dir, secrets) =
        secrets("[secret.github.token]\nsource = \"env\"\nvariable = \"GITHUB_TOKEN\"");
    let github = "github".parse().unwrap();
    let value = get(&secrets, &github, "token").await.unwrap();
    secrets.store().set(&github, "token", &value).unwrap();
    assert!(!format!("{secrets:?} {value:?} {:?}", secrets.store()).contains(CANARY));
}
