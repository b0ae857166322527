//! `tollgate check --zero-standing`: every right that is tied to no task, or that has no end.
//!
//! What it lists is not wrong by itself; it is what an agent, or whoever takes its place, has when
//! nobody has asked it to do anything. With `[tasks] required = true` no policy stands by itself, and no
//! secret that is lent can be had without a task.

use std::time::Duration;

use super::fault::{Fault, chain};
use super::finding::{Finding, Level, in_home, shown};
use super::offline::Loaded;
use crate::approval::{Approval, Status};
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::config::{Config, SecretPlace};
use crate::home::Home;
use crate::journal::escape;
use crate::name::PluginName;
use crate::plugin::Requirement;
use crate::policy::PolicySet;
use crate::state::{AgentRecord, State, StateError};

/// What ties a right to a task.
const TASKS: &str = "set `required = true` in `[tasks]` of `tollgate.toml`, or have the rule ask for `context has task`";

pub(crate) fn findings(
    home: &Home,
    config: &Config,
    policies: &PolicySet,
    loaded: &[Loaded],
) -> Result<Vec<Finding>, Fault> {
    let mut found = rules(home, config, policies);
    found.extend(secrets(home, config, policies, loaded));
    // A home that never served has neither agents nor approvals.
    if home.database().exists() {
        found.extend(agents(home).map_err(|error| unreadable(&error))?);
        found.extend(approvals(home).map_err(|error| unreadable(&error))?);
    }
    Ok(found)
}

fn unreadable(error: &StateError) -> Fault {
    Fault::new(super::exit::Exit::Failed, chain(error))
}

/// Agents whose token is good for ever.
fn agents(home: &Home) -> Result<Vec<Finding>, StateError> {
    let agents = State::look_at_agents(&home.database())?;
    Ok(agents
        .iter()
        .filter_map(|agent| endless(home, agent))
        .collect())
}

fn endless(home: &Home, agent: &AgentRecord) -> Option<Finding> {
    if agent.revoked.is_some() || agent.expires.is_some() {
        return None;
    }
    let name = agent.id.name();
    Some(
        Finding::new(
            Level::Error,
            shown(&home.database()),
            format!("the token of the agent `{name}` never expires"),
        )
        .help(format!(
            "run `tollgate agent remove {name}`, then `tollgate agent add {name} --ttl 30d`"
        )),
    )
}

/// Rules that let an agent call while it is on no task.
fn rules(home: &Home, config: &Config, policies: &PolicySet) -> Vec<Finding> {
    if config.tasks.required {
        return Vec::new();
    }
    policies
        .standing()
        .into_iter()
        .map(|rule| {
            Finding::new(
                Level::Error,
                in_home(home, format!("policies/{}", rule.file)),
                format!("`{}` permits calls to an agent that is on no task", rule.id),
            )
            .at(rule.line, 1)
            .help(TASKS)
        })
        .collect()
}

/// Secrets that plugins use: a value that is kept somewhere is good until somebody changes it; one that is
/// lent ends by itself, and stands where a call on no task can have it.
fn secrets(home: &Home, config: &Config, policies: &PolicySet, loaded: &[Loaded]) -> Vec<Finding> {
    let plugins = loaded
        .iter()
        .filter_map(|loaded| loaded.plugin.as_ref().ok());
    plugins
        .flat_map(|plugin| {
            let untied = !config.tasks.required && policies.stands_for(&plugin.name);
            let requirements = plugin.description.requirements.iter();
            requirements.filter_map(move |requirement| match requirement {
                Requirement::Secret(secret) => {
                    secret_of(home, config, (&plugin.name, &secret.name), untied)
                }
                _ => None,
            })
        })
        .collect()
}

/// `untied`: whether a rule lets an agent that is on no task call the plugin.
fn secret_of(
    home: &Home,
    config: &Config,
    (plugin, name): (&PluginName, &str),
    untied: bool,
) -> Option<Finding> {
    let place = config.secret_place(plugin, name);
    if !is_lent(&place) {
        let message = format!(
            "the secret `{plugin}/{name}` is a value without an end: it is good whether or not anyone is on a task"
        );
        let file = in_home(home, format!("plugins/{plugin}.wasm"));
        return Some(
            Finding::new(Level::Error, file, message).help("use a source that lends it for a time"),
        );
    }
    untied.then(|| {
        let message = format!(
            "the secret `{plugin}/{name}` is lent by `{}` to an agent that is on no task as well",
            escape(&place.to_string())
        );
        Finding::new(Level::Error, in_home(home, "tollgate.toml"), message)
            .at(config.line(&format!("secret.{plugin}.{name}")), 1)
            .help(TASKS)
    })
}

/// Whether what this place gives is made when it is asked for, and ends.
const fn is_lent(place: &SecretPlace) -> bool {
    match place {
        SecretPlace::Store
        | SecretPlace::Variable(_)
        | SecretPlace::File(_)
        | SecretPlace::Keyring { .. } => false,
        SecretPlace::Vault(secret) => secret.dynamic,
        SecretPlace::OAuth(_) | SecretPlace::Jwt(_) | SecretPlace::GitHubApp(_) => true,
    }
}

/// Approvals that people made standing ones.
fn approvals(home: &Home) -> Result<Vec<Finding>, StateError> {
    let now = SystemClock.now();
    let approvals = State::look_at_approvals(&home.database())?;
    Ok(approvals
        .iter()
        .filter_map(|approval| agreed(home, approval, now))
        .collect())
}

/// One that is bound to a task ends with it.
fn agreed(home: &Home, approval: &Approval, now: Duration) -> Option<Finding> {
    let stands = approval.status == Status::Approved
        && approval.standing.is_some()
        && approval.binding.task.is_none()
        && now < approval.expires;
    stands.then(|| {
        let message = format!(
            "`{}` lets `{}` do `{}` until {}, and asks nobody",
            approval.id,
            escape(approval.binding.agent.name()),
            escape(&approval.summary.effect),
            rfc3339(approval.expires)
        );
        Finding::new(Level::Error, shown(&home.database()), message).help(format!(
            "`tollgate approvals show {0}` shows who agreed, `tollgate revoke approval {0}` ends it",
            approval.id
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_token_without_an_end_stands_and_a_removed_one_does_not() {
        let home = Home::at(Path::new("/nonexistent/home")).unwrap();
        let mut agent = AgentRecord {
            id: "claude".parse().unwrap(),
            token: Digest::of(b""),
            created: Duration::ZERO,
            expires: None,
            revoked: None,
        };
        assert!(endless(&home, &agent).unwrap().message.contains("`claude`"));
        agent.revoked = Some(Duration::ZERO);
        assert_eq!(endless(&home, &agent), None);
        (agent.revoked, agent.expires) = (None, Some(Duration::MAX));
        assert_eq!(endless(&home, &agent), None);
    }

    #[test]
    fn a_home_that_never_served_has_no_agents() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let all = |home: &Home| {
            let config = Config::default();
            let policies = PolicySet::load(&home.policies(), &[], None).set;
            findings(home, &config, &policies, &[]).unwrap()
        };
        assert_eq!(all(&home), []);
        home.create().unwrap();
        let state = State::open(&home.database()).unwrap();
        state
            .add_agent(&AgentRecord {
                id: "claude".parse().unwrap(),
                token: Digest::of(b""),
                created: Duration::ZERO,
                expires: None,
                revoked: None,
            })
            .unwrap();
        // Also while a host has it open.
        assert_eq!(all(&home).len(), 1);
        drop(state);
        assert_eq!(all(&home).len(), 1);
    }

    #[test]
    fn a_secret_that_is_lent_stands_where_no_task_is_needed() {
        let home = Home::at(Path::new("/nonexistent/home")).unwrap();
        let text = r#"
[secret.github.app]
source = "jwt"
issuer = "me"
subject = "me"
audience = "api"
[secret.github.login]
source = "vault"
path = "database/creds/reader"
field = "password"
dynamic = true
[secret.github.fixed]
source = "vault"
path = "secret/data/app"
field = "value"
"#;
        let config = Config::parse(&home.config(), text).unwrap();
        let github = "github".parse().unwrap();
        let found = |name: &str, untied| {
            let found = secret_of(&home, &config, (&github, name), untied)?;
            Some((found.line, found.message))
        };
        for (name, line, place) in [
            ("app", 2, "jwt:api"),
            ("login", 7, "vault:database/creds/reader#password"),
        ] {
            let (at, message) = found(name, true).unwrap();
            assert_eq!(at, Some(line));
            assert!(message.contains(&format!("lent by `{place}`")), "{message}");
            assert_eq!(found(name, false), None, "{name}");
        }
        for name in ["fixed", "in_the_store"] {
            for untied in [true, false] {
                let (_, message) = found(name, untied).unwrap();
                assert!(message.contains("without an end"), "{message}");
            }
        }
    }

    #[test]
    fn an_approval_that_stands_is_named_until_its_time_is_over() {
        let home = Home::at(Path::new("/nonexistent/home")).unwrap();
        let digest = Digest::of(b"");
        let mut approval: Approval = serde_json::from_value(serde_json::json!({
            "id": "approval_aaaaaaaaaaaaaaaa", "status": "approved",
            "call": "00000000-0000-0000-0000-000000000001", "subject": {"kind": "call"},
            "binding": {
                "agent": "claude", "tool": "github.comment",
                "plugin": digest, "arguments": digest, "deciding": digest,
            },
            "summary": {
                "agent": "claude", "effect": "call github.comment", "tier": "hold", "arguments": "{}",
                "arguments_digest": digest, "arguments_bytes": 2, "policies": [],
            },
            "tier": "hold", "needed": 1, "answers": [], "asks": 1, "created": 0, "expires": 100_000,
            "standing": 100_000, "uses": 0, "changed": 0,
        }))
        .unwrap();
        let now = Duration::from_secs(99);
        insta::assert_snapshot!(
            agreed(&home, &approval, now).unwrap().message,
            @"`approval_aaaaaaaaaaaaaaaa` lets `claude` do `call github.comment` until 1970-01-01T00:01:40.000Z, and asks nobody"
        );
        assert_eq!(agreed(&home, &approval, Duration::from_secs(100)), None);
        approval.binding.task = Some("task_aaaaaaaaaaaaaaaa".parse().unwrap());
        assert_eq!(agreed(&home, &approval, now), None);
        approval.binding.task = None;
        approval.standing = None;
        assert_eq!(agreed(&home, &approval, now), None);
    }
}
