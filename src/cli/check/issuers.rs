//! Whether the issuers of tokens can be told apart.

use crate::cli::finding::{Finding, Level, shown};
use crate::config::{Config, KeySource};
use crate::identity::jwks::KeySet;
use crate::identity::keys::read_file;

/// Keys of issuers that are in files: whether each set can be used, and whether two issuers have one
/// key, so that each could speak for the other's agents.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sets: Vec<(&str, KeySet)> = Vec::new();
    for issuer in &config.issuers {
        if issuer.agents.is_empty() && issuer.agent_prefix.is_none() {
            let message = format!("the issuer `{}` names no agent", issuer.issuer);
            findings.push(
                Finding::new(Level::Warning, "tollgate.toml", message)
                    .help("name its agents in `[issuer.agents]`, or set `agent_pattern`"),
            );
        }
        let KeySource::File(path) = &issuer.keys else {
            continue;
        };
        let read = read_file(path).and_then(|text| Ok(KeySet::parse(&text, &issuer.algorithms)?));
        let set = match read {
            Ok(set) => set,
            Err(error) => {
                let message = format!("the issuer `{}`: {error}", issuer.issuer);
                findings.push(Finding::new(Level::Error, shown(path), message));
                continue;
            }
        };
        if let Some((other, _)) = sets.iter().find(|(_, known)| known.shares_a_key(&set)) {
            let message = format!(
                "the issuers `{}` and `{other}` have a key in common, so that each could speak for the other's agents",
                issuer.issuer
            );
            findings.push(
                Finding::new(Level::Error, shown(path), message)
                    .help("give each issuer a key of its own"),
            );
        }
        sets.push((&issuer.issuer, set));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_issuers_with_one_key_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        std::fs::write(folder.path().join("a.json"), key).unwrap();
        std::fs::write(folder.path().join("b.json"), key.replace("\"a\"", "\"b\"")).unwrap();
        let table = |name: &str| {
            format!(
                "[[issuer]]\nissuer = \"https://{name}.example\"\njwks = \"{name}.json\"\nagent_pattern = \"*\"\n"
            )
        };
        let path = folder.path().join("tollgate.toml");
        let of = |text: String| findings(&Config::parse(&path, &text).unwrap());
        assert_eq!(of(table("a")), []);
        let found = of(table("a") + &table("b"));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("a key in common"), "{found:?}");
        let missing = of(table("c"));
        assert_eq!(missing[0].severity, Level::Error);
    }
}
