//! Approvals, as people see and answer them: the one form of each for the socket, the admin API, the
//! page and the webhook.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::people::{person, refused};
use super::value;
use crate::approval::{Answer, Approval, ApprovalEvent, Status, Subject};
use crate::clock::rfc3339;
use crate::daemon::{ControlError, Report, SecretText};
use crate::host::Host;
use crate::id::{ApprovalId, ParseIdError};
use crate::policy::PolicyRef;

/// An approval. Everything that an agent or plugin wrote is escaped already, and stands only in
/// `arguments`, `body.text` and what `effect` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalReport {
    /// Which.
    pub id: String,
    /// `pending`, `approved`, `denied`, `used`, `expired`, `withdrawn`, `revoked` or `void`.
    pub status: String,
    /// `call`, or `host-call` for one request of a call that waits.
    pub kind: String,
    /// What would be done, in the host's words.
    pub effect: String,
    /// The agent that asks.
    pub agent: String,
    /// The person on whose behalf, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The task that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The agents that handed the work on, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// The tool, by its full name.
    pub tool: String,
    /// Its tier.
    pub tier: String,
    /// Digest of the component that would run.
    pub plugin: String,
    /// The canonical arguments, in full while it can be answered; letters that show otherwise than
    /// they read are written as `\u....`.
    pub arguments: String,
    /// Whether `arguments` is all of them.
    pub arguments_whole: bool,
    /// Their digest: what the approval is for.
    pub arguments_digest: String,
    /// Bytes of the canonical text.
    pub arguments_bytes: u64,
    /// What the client answered the plugin, where the call is not in its first round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputReport>,
    /// The body of the request, for a host call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyReport>,
    /// The policies that ask for a person; none where the tier does.
    pub policies: Vec<PolicyRef>,
    /// How many persons must agree.
    pub needed: u32,
    /// How many more at least.
    pub missing: u32,
    /// The answers so far.
    pub answers: Vec<AnswerReport>,
    /// How often exactly this was asked.
    pub asks: u32,
    /// The call that asked first.
    pub call: String,
    /// When it was asked, RFC 3339.
    pub created: String,
    /// From when on it is worth nothing.
    pub expires: String,
    /// Seconds for which identical calls are let go, where people agreed to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<u64>,
    /// How often it was used.
    pub uses: u32,
    /// Why it ended, where someone said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The page on which it can be answered, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a round after the first brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReport {
    /// Which round: 2 for the first that brings answers.
    pub round: u32,
    /// The canonical answers, by the questions' keys, written as `arguments` are.
    pub answers: String,
    /// Whether `answers` is all of them.
    pub whole: bool,
    /// Their digest: what the approval is for.
    pub digest: String,
    /// Bytes of the canonical text.
    pub bytes: u64,
    /// Digest of what the plugin gets back of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyReport {
    /// The body, escaped.
    pub text: String,
    /// Whether `text` is all of it.
    pub whole: bool,
    /// Bytes of the body.
    pub bytes: u64,
    /// Its digest: what the approval is for.
    pub digest: String,
}

/// One person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerReport {
    /// Who.
    pub person: String,
    /// Yes or no.
    pub approve: bool,
    /// When, RFC 3339.
    pub at: String,
    /// In the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl ApprovalReport {
    /// `, 3 times`, where it was asked more than once.
    pub(crate) fn times(&self) -> String {
        match self.asks {
            0 | 1 => String::new(),
            asks => format!(", {asks} times"),
        }
    }

    /// The report of `approval`, with the page of `host`, where it has one.
    #[must_use]
    pub fn of(approval: &Approval, host: &Host) -> Self {
        let summary = &approval.summary;
        let kind = match approval.subject {
            Subject::Call {} => "call",
            Subject::HostCall { .. } => "host-call",
        };
        Self {
            id: approval.id.to_string(),
            status: approval.status.as_str().to_owned(),
            kind: kind.to_owned(),
            effect: summary.effect.clone(),
            agent: approval.binding.agent.to_string(),
            user: approval.binding.user.clone(),
            task: approval.binding.task.map(|task| task.to_string()),
            chain: summary.chain.iter().map(ToString::to_string).collect(),
            tool: approval.binding.tool.to_string(),
            tier: approval.tier.clone(),
            plugin: approval.binding.plugin.to_string(),
            arguments: summary.arguments.clone(),
            arguments_whole: summary.is_whole(),
            arguments_digest: summary.arguments_digest.to_string(),
            arguments_bytes: summary.arguments_bytes,
            input: summary.input.as_ref().map(|input| InputReport {
                round: input.round,
                answers: input.answers.clone(),
                whole: input.is_whole(),
                digest: input.answers_digest.to_string(),
                bytes: input.answers_bytes,
                state: input.state_digest.map(|digest| digest.to_string()),
            }),
            body: summary.body.as_ref().map(|body| BodyReport {
                text: body.text.clone(),
                whole: body.whole,
                bytes: body.bytes,
                digest: body.digest.to_string(),
            }),
            policies: summary.policies.clone(),
            needed: approval.needed.max(1),
            missing: approval.missing(),
            answers: approval
                .answers
                .iter()
                .map(|given| AnswerReport {
                    person: given.person.to_string(),
                    approve: given.approve,
                    at: rfc3339(given.at),
                    why: given.why.clone(),
                })
                .collect(),
            asks: approval.asks,
            call: approval.call.to_string(),
            created: rfc3339(approval.created),
            expires: rfc3339(approval.expires),
            standing: approval.standing.map(|standing| standing.as_secs()),
            uses: approval.uses,
            why: approval.why.clone(),
            url: host.approval_url(approval.id),
        }
    }
}

/// An approval that waits for a second person, for tests of what shows it.
#[cfg(test)]
pub(crate) fn sample(arguments: &str) -> ApprovalReport {
    ApprovalReport {
        id: "approval_aaaaaaaaaaaaaaaa".into(),
        status: "pending".into(),
        kind: "call".into(),
        effect: "call github.comment".into(),
        agent: "spiffe://tollgate.local/agent/claude".into(),
        user: None,
        task: None,
        chain: vec![],
        tool: "github.comment".into(),
        tier: "hold".into(),
        plugin: "sha256:00".into(),
        arguments: arguments.into(),
        arguments_whole: true,
        arguments_digest: "sha256:11".into(),
        arguments_bytes: arguments.len() as u64,
        input: None,
        body: None,
        policies: vec![],
        needed: 2,
        missing: 1,
        answers: vec![AnswerReport {
            person: "bob".into(),
            approve: true,
            at: "2026-11-22T00:01:00.000Z".into(),
            why: None,
        }],
        asks: 1,
        call: "0".into(),
        created: "2026-11-22T00:00:00.000Z".into(),
        expires: "2026-11-22T00:15:00.000Z".into(),
        standing: None,
        uses: 0,
        why: None,
        url: None,
    }
}

/// What of approvals a person wants to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// Those that wait for an answer.
    #[default]
    Pending,
    /// All that are remembered.
    All,
}

impl Which {
    /// The approvals of `host`, the oldest first.
    #[must_use]
    pub fn of(self, host: &Host) -> Vec<Arc<Approval>> {
        let mut all = host.approvals().list(match self {
            Self::Pending => Some(Status::Pending),
            Self::All => None,
        });
        all.reverse();
        all
    }
}

pub(super) fn list(
    host: &Host,
    credential: &SecretText,
    which: Which,
) -> Result<Value, ControlError> {
    person(host, credential)?;
    let all: Vec<_> = which
        .of(host)
        .iter()
        .map(|approval| ApprovalReport::of(approval, host))
        .collect();
    value(&all)
}

pub(super) fn show(host: &Host, credential: &SecretText, id: &str) -> Result<Value, ControlError> {
    person(host, credential)?;
    let id = id_of(id)?;
    let approval = host.approvals().get(id).ok_or_else(|| unknown(id))?;
    value(&ApprovalReport::of(&approval, host))
}

pub(super) async fn answer(
    host: &Host,
    credential: &SecretText,
    id: &str,
    answer: Answer,
) -> Result<Value, ControlError> {
    let approver = person(host, credential)?;
    let id = id_of(id)?;
    if host.approvals().get(id).is_none() {
        return Err(unknown(id));
    }
    let answered = host
        .approvals()
        .answer(id, &approver, answer)
        .await
        .map_err(|refusal| refused(&refusal))?;
    value(&ApprovalReport::of(&answered, host))
}

/// Reports what waits, then whatever happens, until nobody listens any more.
pub(super) async fn watch(
    host: &Host,
    credential: &SecretText,
    report: &Report,
    cancel: &CancellationToken,
) -> Result<Value, ControlError> {
    person(host, credential)?;
    let draining = host.draining();
    // Before the list, so that nothing falls between the two; what is in both comes twice.
    let mut events = host.approvals().events();
    for approval in Which::Pending.of(host) {
        send(host, report, "asked", &approval)?;
    }
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return Ok(Value::Null),
            () = draining.cancelled() => return Ok(Value::Null),
            event = events.recv() => event,
        };
        match event {
            Ok(event) => {
                // Whoever was removed sees no more.
                person(host, credential)?;
                let (name, approval) = named(&event);
                send(host, report, name, approval)?;
            }
            // What waits now is what matters of what was missed.
            Err(RecvError::Lagged(_)) => {
                for approval in Which::Pending.of(host) {
                    send(host, report, "asked", &approval)?;
                }
            }
            Err(RecvError::Closed) => return Ok(Value::Null),
        }
    }
}

fn send(host: &Host, report: &Report, name: &str, approval: &Approval) -> Result<(), ControlError> {
    let mut told = value(&ApprovalReport::of(approval, host))?;
    if let Some(members) = told.as_object_mut() {
        members.insert(String::from("event"), name.into());
    }
    report.send(told);
    Ok(())
}

/// What happened, as people read it, and to which approval.
#[must_use]
pub fn named(event: &ApprovalEvent) -> (&'static str, &Approval) {
    match event {
        ApprovalEvent::Asked(approval) => ("asked", approval),
        ApprovalEvent::Answered(approval) => ("answered", approval),
        ApprovalEvent::Used(approval) => ("used", approval),
        ApprovalEvent::Ended(approval) => ("ended", approval),
    }
}

/// The answer of a person, in the words of a command.
#[must_use]
pub fn approve(standing: Option<u64>) -> Answer {
    Answer::Approve {
        standing: standing.map(Duration::from_secs),
    }
}

/// The same for a no. The agent reads the words.
#[must_use]
pub fn deny(why: Option<String>) -> Answer {
    let why = why
        .map(|why| why.trim().to_owned())
        .filter(|why| !why.is_empty());
    Answer::Deny { why }
}

fn id_of(text: &str) -> Result<ApprovalId, ControlError> {
    text.parse()
        .map_err(|error: ParseIdError| ControlError::new("approval.invalid", error.to_string()))
}

fn unknown(id: ApprovalId) -> ControlError {
    ControlError::new("approval.unknown", format!("there is no approval `{id}`"))
        .with_hint("`tollgate approvals list --all` shows those that are remembered")
}
