//! `policies/cases/*.json`: questions with the answers that their author expects, run as tests.
//!
//! A case names both the decision and the policies that determine it, so that a rule which is
//! right for the wrong reason fails too.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::AgentId;
use crate::json::{Arguments, Limits};
use crate::name::ToolName;
use crate::plugin::{OriginScope, Requirement};

use super::context::Pairs;
use super::decide::Answer;
use super::load::{PluginPolicies, PolicySet};
use super::question::{CallFacts, CallQuestion, Fact, HostQuestion, Target};
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
    #[serde(default)]
    user: Option<String>,
    tool: ToolName,
    #[serde(default)]
    arguments: Option<Value>,
    #[serde(default)]
    host_call: Option<HostCall>,
    #[serde(default)]
    tier: Option<String>,
    #[serde(default)]
    transport: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    approved: bool,
    decision: Expected,
    policies: Vec<String>,
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
        (Some(directory), false) => Some(directory.with(case.agent.as_str(), &case.groups)?),
        _ => None,
    };
    let ready: (std::sync::Arc<_>, Pairs) = match &case.host_call {
        None => set.prepare_call(
            &CallQuestion {
                agent: &case.agent,
                chain: &[],
                user: case.user.as_deref(),
                tool: &case.tool,
                plugin_digest: plugin.known.digest,
                tier,
                arguments: &arguments,
                transport: case.transport.as_deref().unwrap_or("stdio"),
                time,
                attempt: 1,
                approved: case.approved,
            },
            directory.as_ref(),
        )?,
        Some(host_call) => set.prepare_host_call(
            &CallFacts {
                agent: &case.agent,
                chain: &[],
                user: case.user.as_deref(),
                tool: &case.tool,
                tier,
                arguments: &arguments,
                time,
                approved: case.approved,
            },
            &host_call.asked(plugin, &case.tool)?,
            directory.as_ref(),
        )?,
    };
    set.answer(&ready.0, ready.1, case.approved)
}

/// A host call of a case, as the question that the host would ask.
struct Asked {
    action: HostAction,
    target: String,
    facts: Vec<(&'static str, Fact)>,
}

impl HostQuestion for Asked {
    fn action(&self) -> HostAction {
        self.action
    }

    fn target(&self) -> Target<'_> {
        match self.action {
            HostAction::Http | HostAction::Connect => Target::Origin(&self.target),
            HostAction::UseSecret | HostAction::RevealSecret => Target::Secret(&self.target),
            HostAction::Clock | HostAction::Random => Target::Plugin,
        }
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        self.facts.clone()
    }
}

impl HostCall {
    fn asked(&self, plugin: &PluginPolicies, tool: &ToolName) -> Result<Asked, String> {
        let action = HostAction::ALL
            .iter()
            .copied()
            .find(|action| action.group() == self.capability)
            .ok_or_else(|| format!("there is no capability `{}`", self.capability))?;
        let text = |text: &str| Fact::Text(text.to_owned());
        let needs = |name: &str| format!("a `{}` case needs `{name}`", self.capability);
        let url = || {
            let text = self.url.as_ref().ok_or_else(|| needs("url"))?;
            url::Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))
        };
        let place = |url: &url::Url| {
            let host = url.host_str().unwrap_or_default().to_owned();
            let port = i64::from(url.port_or_known_default().unwrap_or_default());
            (host, Fact::Whole(port), url.origin().ascii_serialization())
        };
        let (target, facts) = match action {
            HostAction::Http => {
                let url = url()?;
                let (host, port, origin) = place(&url);
                let requirement = match &self.requirement {
                    Some(name) => name.clone(),
                    None => self.requirement_for(plugin, tool, &origin),
                };
                let facts = vec![
                    (
                        "method",
                        text(self.method.as_deref().ok_or_else(|| needs("method"))?),
                    ),
                    ("path", text(url.path())),
                    ("scheme", text(url.scheme())),
                    ("host", Fact::Text(host)),
                    ("port", port),
                    ("requirement", Fact::Text(requirement)),
                    ("query", Fact::Truth(url.query().is_some())),
                    ("body_bytes", Fact::Whole(self.body_bytes)),
                    ("secrets", Fact::Texts(self.secrets.clone())),
                    ("http_calls", Fact::Whole(self.http_calls)),
                ];
                (origin, facts)
            }
            HostAction::Connect => {
                let (host, port, origin) = place(&url()?);
                let address = self.address.ok_or_else(|| needs("address"))?;
                let facts = vec![
                    ("address", Fact::Address(address)),
                    ("port", port),
                    ("host", Fact::Text(host)),
                ];
                (origin, facts)
            }
            HostAction::UseSecret | HostAction::RevealSecret => {
                let (_, _, origin) = place(&url()?);
                let facts = vec![
                    ("origin", Fact::Text(origin)),
                    (
                        "scheme",
                        text(self.scheme.as_deref().ok_or_else(|| needs("scheme"))?),
                    ),
                ];
                (self.secret.clone().ok_or_else(|| needs("secret"))?, facts)
            }
            HostAction::Clock | HostAction::Random => (String::new(), Vec::new()),
        };
        Ok(Asked {
            action,
            target,
            facts,
        })
    }

    /// The requirement of the tool that leads to this origin: by name, or else the open one.
    fn requirement_for(&self, plugin: &PluginPolicies, tool: &ToolName, origin: &str) -> String {
        let description = &plugin.known.description;
        let uses = description
            .tool(tool)
            .map(|t| t.uses.as_slice())
            .unwrap_or_default();
        let of = |wanted: &dyn Fn(&str, &OriginScope) -> bool| {
            uses.iter().find(|name| {
                matches!(description.requirement(name), Some(Requirement::Http(http)) if wanted(name, &http.origin))
            })
        };
        of(&|name, _| plugin.known.origins.get(name).is_some_and(|o| o == origin))
            .or_else(|| of(&|_, scope| *scope == OriginScope::AnyPublic))
            .cloned()
            .unwrap_or_default()
    }
}
