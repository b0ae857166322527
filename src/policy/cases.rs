//! `policies/cases/*.json`: questions with the answers that their author expects, run as tests.
//!
//! A case names both the decision and the policies that determine it, so that a rule which is
//! right for the wrong reason fails too.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Round;
use crate::handoff;
use crate::id::TaskId;
use crate::identity::{AgentId, PersonId};
use crate::json::{Arguments, Limits};
use crate::name::{PluginName, ToolName};

use super::approve::Agreement;
use super::chain;
use super::decide::Answer;
use super::entities;
use super::load::{Known, PluginPolicies, PolicySet};
use super::question::{ApproveQuestion, CallFacts, CallQuestion, RoundFacts, TaskFacts};
use super::supposed::{Supposed, SupposedRequest, requirement_to};
use super::vocabulary::HostAction;

/// When a case does not say: 2026-01-01T12:00:00Z.
const DEFAULT_TIME: Duration = Duration::from_secs(1_767_268_800);

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// Its file, relative to `policies/`.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Whether the answer was the expected one.
    pub passed: bool,
    /// What was expected, such as `allow by github.read`; or what is wrong with the case.
    pub expected: String,
    /// What was answered.
    pub answered: String,
    /// The plugin that it is about, where there is none of that name: then nothing was asked.
    #[serde(skip)]
    pub missing: Option<PluginName>,
}

/// One case, as its author writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    agent: AgentId,
    /// Groups that the agent is put into for this case, beside those of `entities.json`.
    #[serde(default)]
    groups: Vec<String>,
    /// The agents that handed the work on, the first one first.
    #[serde(default)]
    chain: Vec<AgentId>,
    #[serde(default)]
    user: Option<String>,
    tool: ToolName,
    #[serde(default)]
    arguments: Option<Value>,
    #[serde(default)]
    host_call: Option<HostCall>,
    #[serde(default)]
    tier: Option<String>,
    /// The task that the call is on.
    #[serde(default)]
    task: Option<TaskCase>,
    /// Which round it is: 1, which needs not be said, or with `answers` 2 or more.
    #[serde(default)]
    round: Option<u32>,
    /// What came back of what the plugin asked, by the questions' keys.
    #[serde(default)]
    answers: Option<Map<String, Value>>,
    #[serde(default)]
    transport: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    approved: bool,
    /// Who agreed; with anybody in it, `approved` goes without saying.
    #[serde(default)]
    approvers: BTreeSet<PersonId>,
    /// A person: the case is then about whether this one may answer what is held. `groups` are that
    /// person's.
    #[serde(default)]
    approver: Option<PersonId>,
    /// Whether that answer is to stand for more than one use.
    #[serde(default)]
    standing: bool,
    decision: Expected,
    policies: Vec<String>,
}

/// A task: every part may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TaskCase {
    id: Option<TaskId>,
    intent: String,
    labels: BTreeSet<String>,
    calls: u64,
    host_calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Hold,
    Refuse,
}

/// A host call: the capability, and what it is aimed at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostCall {
    capability: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    requirement: Option<String>,
    #[serde(default)]
    body_bytes: i64,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    http_calls: i64,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    scheme: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    address: Option<std::net::IpAddr>,
}

/// Runs every case below `dir` (the folder `policies/`) against `set`. A file that can't be read is
/// a case that fails.
#[must_use]
pub fn run_cases(dir: &Path, set: &PolicySet) -> Vec<CaseResult> {
    let mut files: Vec<String> = std::fs::read_dir(dir.join("cases"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    files.sort_unstable();
    let mut results = Vec::new();
    for name in files {
        let file = format!("cases/{name}");
        let broken = |fault: String| CaseResult {
            file: file.clone(),
            name: String::from("(the file)"),
            passed: false,
            expected: String::from("an array of cases"),
            answered: fault,
            missing: None,
        };
        let cases = std::fs::read_to_string(dir.join(&file))
            .map_err(|error| error.to_string())
            .and_then(|text| {
                serde_json::from_str::<Vec<Case>>(&text).map_err(|error| error.to_string())
            });
        match cases {
            Ok(cases) => results.extend(cases.iter().map(|case| run(&file, case, set))),
            Err(fault) => results.push(broken(fault)),
        }
    }
    results
}

fn run(file: &str, case: &Case, set: &PolicySet) -> CaseResult {
    let mut wanted = case.policies.clone();
    wanted.sort_unstable();
    let expected = phrase(case.decision, &wanted);
    let (passed, answered) = match answer(case, set) {
        Ok(Answer::Refuse(reason, ground)) if !ground.errors.is_empty() => {
            (false, format!("{reason}: {}", ground.errors.join("; ")))
        }
        Ok(answer) => {
            let (decision, ground) = match answer {
                Answer::Allow(ground) => (Expected::Allow, ground),
                Answer::Hold(ground) => (Expected::Hold, ground),
                Answer::Refuse(_, ground) => (Expected::Refuse, ground),
            };
            let mut ids: Vec<String> = ground.policies.into_iter().map(|p| p.id).collect();
            ids.sort_unstable();
            let passed = decision == case.decision && ids == wanted;
            (passed, phrase(decision, &ids))
        }
        Err(fault) => (false, format!("the question could not be put: {fault}")),
    };
    CaseResult {
        file: file.to_owned(),
        name: case.name.clone(),
        passed,
        expected,
        answered,
        missing: Some(case.tool.plugin())
            .filter(|plugin| !set.plugins.contains_key(*plugin))
            .cloned(),
    }
}

fn phrase(decision: Expected, ids: &[String]) -> String {
    let decision = match decision {
        Expected::Allow => "allow",
        Expected::Hold => "hold",
        Expected::Refuse => "refuse",
    };
    if ids.is_empty() {
        format!("{decision} by no policy")
    } else {
        format!("{decision} by {}", ids.join(", "))
    }
}

fn answer(case: &Case, set: &PolicySet) -> Result<Answer, String> {
    let (plugin, _) = set.tool(&case.tool)?;
    let text = case
        .arguments
        .as_ref()
        .map_or_else(|| "{}".to_owned(), Value::to_string);
    let arguments = Arguments::parse(text.as_bytes(), &Limits::default())
        .map_err(|refusal| refusal.to_string())?;
    let time = match &case.time {
        None => DEFAULT_TIME,
        Some(text) => {
            let timestamp: jiff::Timestamp =
                text.parse().map_err(|_| format!("`{text}` is no time"))?;
            Duration::from_millis(u64::try_from(timestamp.as_millisecond()).unwrap_or_default())
        }
    };
    let tier = case
        .tier
        .as_ref()
        .or_else(|| plugin.known.tiers.get(&case.tool))
        .map_or("", String::as_str);
    let directory = match (&set.directory, case.groups.is_empty()) {
        (Some(directory), false) => {
            let uid = match &case.approver {
                Some(person) => entities::user(person),
                None => entities::agent(case.agent.as_str()),
            };
            Some(directory.with(&uid, &case.groups)?)
        }
        _ => None,
    };
    let agreement = Agreement {
        approved: case.approved || !case.approvers.is_empty(),
        approvers: case.approvers.iter().map(ToString::to_string).collect(),
    };
    let task = case.task.as_ref().map(TaskCase::facts);
    let round = case.round()?;
    let call = CallFacts {
        agent: &case.agent,
        chain: &case.chain,
        user: case.user.as_deref(),
        tool: &case.tool,
        tier,
        arguments: &arguments,
        round: round.as_ref(),
        task: task.as_ref(),
        time,
        approval: None,
    };
    handoff::check(&case.chain, &case.agent).map_err(|refusal| refusal.to_string())?;
    if let Some(person) = &case.approver {
        let question = ApproveQuestion {
            person,
            call,
            approvers: &case.approvers,
            host_call: case.host_call.is_some(),
            standing: case.standing,
        };
        let (prepared, pairs) = set.prepare_approve(&question, directory.as_ref())?;
        return set.answer_once(&prepared, pairs, &agreement);
    }
    let question = CallQuestion {
        call,
        plugin_digest: plugin.known.digest,
        transport: case.transport.as_deref().unwrap_or("stdio"),
        attempt: 1,
    };
    let host_call = case.host_call.as_ref();
    let host_call = host_call.map(|asked| asked.supposed(plugin, &case.tool));
    let host_call = host_call.transpose()?;
    chain::strictest(&case.chain, &case.agent, |agent| {
        let (prepared, pairs) = match &host_call {
            None => set.prepare_call(&question.of(agent), directory.as_ref()),
            Some(asked) => set.prepare_host_call(&call.of(agent), asked, directory.as_ref()),
        }?;
        set.answer(&prepared, pairs, &agreement)
    })
}

impl Case {
    /// The round that it is about, where that is not the first.
    fn round(&self) -> Result<Option<RoundFacts>, String> {
        match (self.round, &self.answers) {
            (None | Some(1), None) => Ok(None),
            (None | Some(2..), Some(answers)) => {
                let round = Round {
                    number: self.round.unwrap_or(2),
                    answers: answers.clone().into_iter().collect(),
                    ..Round::default()
                };
                Ok(Some(round.facts()))
            }
            _ => Err("a round after the first has `answers`, and no other has any".to_owned()),
        }
    }
}

impl TaskCase {
    fn facts(&self) -> TaskFacts {
        let id = self.id.map(|id| id.to_string());
        TaskFacts {
            id: id.unwrap_or_else(|| "task_aaaaaaaaaaaaaaaa".to_owned()),
            intent: self.intent.clone(),
            labels: self.labels.clone(),
            calls: self.calls,
            host_calls: self.host_calls,
        }
    }
}

impl HostCall {
    fn supposed(&self, plugin: &PluginPolicies, tool: &ToolName) -> Result<Supposed, String> {
        let action = HostAction::ALL
            .iter()
            .copied()
            .find(|action| action.group() == self.capability)
            .ok_or_else(|| format!("there is no capability `{}`", self.capability))?;
        let needs = |name: &str| format!("a `{}` case needs `{name}`", self.capability);
        let url = || {
            let text = self.url.as_ref().ok_or_else(|| needs("url"))?;
            url::Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))
        };
        Ok(match action {
            HostAction::Http => {
                let url = url()?;
                let Known {
                    description,
                    origins,
                    ..
                } = &plugin.known;
                let requirement = self.requirement.as_deref().or_else(|| {
                    let origin = url.origin().ascii_serialization();
                    requirement_to(description, origins, tool, &origin)
                });
                let request = SupposedRequest {
                    method: self.method.as_deref().ok_or_else(|| needs("method"))?,
                    requirement: requirement.unwrap_or_default(),
                    body_bytes: self.body_bytes,
                    secrets: &self.secrets,
                    http_calls: self.http_calls,
                };
                Supposed::http(&url, &request)
            }
            HostAction::Connect => {
                Supposed::connect(&url()?, self.address.ok_or_else(|| needs("address"))?)
            }
            HostAction::UseSecret | HostAction::RevealSecret => Supposed::secret(
                action,
                self.secret.as_deref().ok_or_else(|| needs("secret"))?,
                &url()?.origin().ascii_serialization(),
                self.scheme.as_deref().ok_or_else(|| needs("scheme"))?,
            ),
            HostAction::Clock | HostAction::Random => Supposed::bare(action),
            HostAction::Ask => {
                let kind = self.kind.as_deref().ok_or_else(|| needs("kind"))?;
                let url = self.url.is_some().then(url).transpose()?;
                Supposed::ask(kind, url.as_ref())
            }
        })
    }
}
