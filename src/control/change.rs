//! What an operator changes. Written down first, then done.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::config::SecretPlace;
use crate::daemon::{ControlError, SecretText};
use crate::digest::Digest;
use crate::host::Host;
use crate::identity::{AgentId, IssueError, ParseAgentError};
use crate::name::{ParseNameError, PluginName, is_plain};
use crate::revocation::Scope;
use crate::secret::{SecretValue, StoreError};
use crate::state::StateError;

/// Accepts the plugin that waits under this name. The registry writes it down.
pub(super) async fn accept(
    host: &Host,
    plugin: &str,
    diff: Option<Digest>,
    component: Option<Digest>,
) -> Result<Value, ControlError> {
    let name = plugin_of(plugin)?;
    let (digest, diff) = host.accept(&name, diff, component).await.map_err(stands)?;
    Ok(json!({"plugin": name, "digest": digest, "diff": diff}))
}

/// Why nothing can be said or done about a plugin.
pub(super) fn stands(message: String) -> ControlError {
    ControlError::new("plugin.refused", message)
        .with_hint("`tollgate plugins` shows where each stands")
}

pub(super) async fn agent_add(
    host: &Host,
    name: &str,
    ttl: Option<u64>,
) -> Result<Value, ControlError> {
    let agent = agent_of(name)?;
    if AgentId::local(agent.name()).as_ref() != Ok(&agent) {
        return Err(ControlError::new(
            "agent.invalid",
            format!(
                "`{agent}` is of another trust domain, and this host issues tokens for its own agents only"
            ),
        ));
    }
    let identities = host.identities().clone();
    // Before the record, so that none is written of a change that is then not made.
    if identities
        .list()
        .iter()
        .any(|known| known.id == agent && known.revoked.is_none())
    {
        return Err(exists(&agent));
    }
    journalled(host, "agent.added", agent.name())?;
    let name = agent.name().to_owned();
    let issued = blocking(move || identities.issue(&name, ttl.map(Duration::from_secs)))
        .await?
        .map_err(|error| match error {
            IssueError::State(StateError::AgentExists(agent)) => exists(&agent),
            IssueError::Name(error) => ControlError::new("agent.invalid", error.to_string()),
            error => failed("agent", &error),
        })?;
    Ok(json!({
        "agent": issued.agent, "name": issued.agent.name(),
        "token": issued.token.expose(), "expires": issued.expires.map(rfc3339),
    }))
}

fn exists(agent: &AgentId) -> ControlError {
    let name = agent.name();
    ControlError::new(
        "agent.exists",
        format!("the agent `{name}` has a token already"),
    )
    .with_hint(format!(
        "run `tollgate agent remove {name}` first, or use another name"
    ))
}

pub(super) async fn agent_remove(host: &Host, name: &str) -> Result<Value, ControlError> {
    let agent = agent_of(name)?;
    let identities = host.identities().clone();
    let unknown = || {
        ControlError::new(
            "agent.unknown",
            format!("there is no agent `{}`", agent.name()),
        )
        .with_hint("`tollgate agent list` shows those that there are")
    };
    if !identities
        .list()
        .iter()
        .any(|known| known.id == agent && known.revoked.is_none())
    {
        return Err(unknown());
    }
    // Removing an agent is revoking it: its calls are stopped, its tasks end, what it was lent goes back.
    let revoked =
        super::revoking::take(host, Scope::Agent(agent.clone()), super::revoking::BY).await?;
    Ok(
        json!({"agent": agent, "name": agent.name(), "calls": revoked.calls, "tasks": revoked.tasks}),
    )
}

pub(super) async fn secret_set(
    host: &Host,
    plugin: &str,
    name: &str,
    value: SecretText,
) -> Result<Value, ControlError> {
    let plugin = plugin_of(plugin)?;
    secret_name(name)?;
    // A value that is never looked at would be a surprise.
    let place = host.config().secret_place(&plugin, name);
    let elsewhere = match &place {
        place if place.is_in_store() => None,
        SecretPlace::Variable(variable) => Some(format!("the variable `{variable}`")),
        SecretPlace::File(path) => Some(format!("the file `{}`", path.display())),
        place => Some(format!("`{place}`")),
    };
    if let Some(place) = elsewhere {
        return Err(ControlError::new(
            "secret.elsewhere",
            format!("the configuration says that `{plugin}/{name}` is in {place}"),
        )
        .with_hint(format!(
            "remove `[secret.{plugin}.{name}]` from `tollgate.toml` first"
        )));
    }
    let bytes = value.reveal().len();
    if !(1..=crate::secret::MAX_VALUE).contains(&bytes) {
        return Err(ControlError::new(
            "secret.invalid",
            format!(
                "a secret's value has 1 to {} bytes, and this one has {bytes}",
                crate::secret::MAX_VALUE
            ),
        ));
    }
    journalled(host, "secret.set", &format!("{plugin}/{name}"))?;
    let store = host.secrets().store().clone();
    let (of, named) = (plugin.clone(), name.to_owned());
    blocking(move || {
        store.set(
            &of,
            &named,
            &SecretValue::new(value.reveal().as_bytes().to_vec()),
        )
    })
    .await?
    .map_err(|error| failed("secret", &error))?;
    Ok(json!({"plugin": plugin, "name": name}))
}

pub(super) async fn secret_remove(
    host: &Host,
    plugin: &str,
    name: &str,
) -> Result<Value, ControlError> {
    let plugin = plugin_of(plugin)?;
    secret_name(name)?;
    let unknown = |plugin: &PluginName| {
        ControlError::new(
            "secret.unknown",
            format!("the store has no secret `{plugin}/{name}`"),
        )
        .with_hint("`tollgate secret list` shows those that there are")
    };
    let store = host.secrets().store().clone();
    let stored = blocking(move || store.list())
        .await?
        .map_err(|error| failed("secret", &error))?;
    if !stored
        .iter()
        .any(|(of, named)| *of == plugin && named == name)
    {
        return Err(unknown(&plugin));
    }
    journalled(host, "secret.removed", &format!("{plugin}/{name}"))?;
    let store = host.secrets().store().clone();
    let (of, named) = (plugin.clone(), name.to_owned());
    blocking(move || store.remove(&of, &named))
        .await?
        .map_err(|error| match error {
            StoreError::Missing { plugin, .. } => unknown(&plugin),
            error => failed("secret", &error),
        })?;
    Ok(json!({"plugin": plugin, "name": name}))
}

/// INVARIANT: comes before the change itself. Where it fails, nothing is changed.
pub(super) fn journalled(host: &Host, change: &str, subject: &str) -> Result<(), ControlError> {
    host.changed(change, subject).map_err(|error| {
        ControlError::new("journal.unavailable", error.to_string())
            .with_hint("nothing was changed: what can't be written down is not done")
    })
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ControlError::new("host.internal", error.to_string()))
}

pub(super) fn failed(what: &str, error: &dyn Display) -> ControlError {
    ControlError::new(format!("{what}.failed"), error.to_string())
}

pub(super) fn agent_of(name: &str) -> Result<AgentId, ControlError> {
    name.parse()
        .map_err(|error: ParseAgentError| ControlError::new("agent.invalid", error.to_string()))
}

pub(super) fn plugin_of(name: &str) -> Result<PluginName, ControlError> {
    name.parse()
        .map_err(|error: ParseNameError| ControlError::new("plugin.invalid", error.to_string()))
}

fn secret_name(name: &str) -> Result<(), ControlError> {
    if is_plain(name) {
        return Ok(());
    }
    Err(ControlError::new(
        "secret.invalid",
        format!(
            "`{}` can't be a secret's name: use 1 to 64 of `a`-`z`, `A`-`Z`, `0`-`9`, `_` and `-`, starting with a letter or digit",
            name.escape_default()
        ),
    ))
}
