//! What an operator does with tokens: rotating an agent's, making step tokens, and changing the
//! key under which they are made. Written down first, then done.

use std::time::Duration;

use serde_json::{Value, json};

use super::change::{agent_of, blocking, failed, journalled};
use crate::clock::rfc3339;
use crate::daemon::{ControlError, MintCommand};
use crate::host::{Door, Host};
use crate::identity::{Authenticated, IssueError, MintRequest};
use crate::json::{self, Arguments, Limits};
use crate::reason::Refusal;
use crate::state::StateError;

pub(super) async fn agent_rotate(
    host: &Host,
    name: &str,
    ttl: Option<u64>,
    overlap: u64,
) -> Result<Value, ControlError> {
    let agent = agent_of(name)?;
    let identities = host.identities().clone();
    let unknown = || {
        ControlError::new(
            "agent.unknown",
            format!(
                "there is no agent `{}` whose token could be rotated",
                agent.name()
            ),
        )
        .with_hint("`tollgate agent list` shows those that there are")
    };
    let is_live = |known: &crate::state::AgentRecord| known.id == agent && known.revoked.is_none();
    if !identities.list().iter().any(is_live) {
        return Err(unknown());
    }
    journalled(host, "agent.rotated", agent.name())?;
    let id = agent.clone();
    let rotate = move || {
        identities.rotate(
            &id,
            ttl.map(Duration::from_secs),
            Duration::from_secs(overlap),
        )
    };
    let issued = blocking(rotate).await?.map_err(|error| match error {
        IssueError::State(StateError::NoAgent(_)) => unknown(),
        error => failed("agent", &error),
    })?;
    Ok(json!({
        "agent": issued.agent, "name": issued.agent.name(), "token": issued.token.expose(),
        "expires": issued.expires.map(rfc3339), "overlap": issued.overlap.map(rfc3339),
    }))
}

pub(super) async fn mint(host: &Host, ask: MintCommand) -> Result<Value, ControlError> {
    let agent = agent_of(&ask.agent)?;
    let invalid = |what: String| ControlError::new("token.invalid", what);
    host.identities().known(&agent).map_err(|error| {
        ControlError::new("agent.unknown", error.to_string())
            .with_hint("`tollgate agent list` shows the agents of this host")
    })?;
    let mut request = MintRequest {
        life: ask.ttl.map(Duration::from_secs),
        ..MintRequest::default()
    };
    if let Some(tool) = &ask.tool {
        let found = host.catalogue().find(tool);
        let (_, name) = found.ok_or_else(|| invalid(format!("there is no tool `{tool}`")))?;
        request.tool = Some(name);
    }
    if let Some(text) = &ask.arguments {
        let arguments = Arguments::parse(text.as_bytes(), &Limits::default())
            .map_err(|refusal| invalid(format!("the arguments: {}", refusal.message)))?;
        request.narrowing.arguments = Some(arguments.digest());
    }
    for (pointer, text) in ask.values {
        let value = json::parse(text.as_bytes(), &Limits::default())
            .map_err(|fault| invalid(format!("`{pointer}`: {}", fault.message)))?;
        request.narrowing.values.push((pointer, value));
    }
    if let Some(task) = &ask.task {
        let task = task.parse();
        request.task =
            Some(task.map_err(|error: crate::id::ParseIdError| invalid(error.to_string()))?);
    }
    request.to = ask.to.as_deref().map(agent_of).transpose()?;
    let minted = host
        .mint(&Authenticated::of(agent), request, Door::Command)
        .await
        .map_err(|refusal: Refusal| {
            let detail = refusal.detail.map(|d| format!(": {d}")).unwrap_or_default();
            ControlError::new(
                refusal.reason.code(),
                format!("{}{detail}", refusal.message),
            )
        })?;
    let expires = rfc3339(Duration::from_secs(minted.grant.expires));
    Ok(json!({
        "id": minted.grant.id, "token": minted.token, "kind": minted.grant.kind,
        "agent": minted.grant.agent, "tool": minted.grant.tool, "task": minted.grant.task,
        "to": minted.grant.to, "expires": expires,
    }))
}

pub(super) async fn rotate_key(host: &Host, at_once: bool) -> Result<Value, ControlError> {
    journalled(
        host,
        "token.key_rotated",
        if at_once { "at once" } else { "in order" },
    )?;
    let identities = host.identities().clone();
    let id = blocking(move || identities.rotate_key(at_once))
        .await?
        .map_err(|error| failed("token", &error))?;
    Ok(json!({ "key": id }))
}
