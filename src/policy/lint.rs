//! Lint: every literal in a rule held against what exists, and every hold against who could answer it.
//!
//! Cedar takes a misspelt entity id, a method in lower case or `https://API.github.com` without a
//! word, and the rule never matches: a permit that never permits, or worse, a guard that never
//! guards. What can't match in any circumstances is an error; what merely is not there now is an
//! error in a plugin's own file and a warning in the shared one, where plugins come and go.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::EntityUid;
use serde_json::Value;

use crate::digest::Digest;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::name::{PluginName, ToolName};
use crate::plugin::{OriginScope, Requirement};

use super::entities::{self, Directory};
use super::literal::{Compared, canonical_origin, dots, is_host, key_of, pattern, starts};
use super::load::{Finding, PluginPolicies, SHARED, Severity};
use super::source::{Rule, Source};
use super::vocabulary::type_of;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const TRANSPORTS: &[&str] = &["http", "stdio", "cli"];

/// Lints a plugin's own file.
pub(super) fn own(source: &Source, policies: &PluginPolicies) -> Vec<Finding> {
    Linter::of(source, vec![policies]).run()
}

/// Lints the shared rules.
pub(super) fn shared(
    source: &Source,
    plugins: &BTreeMap<PluginName, PluginPolicies>,
) -> Vec<Finding> {
    Linter::of(source, plugins.values().collect()).run()
}

/// Agents and groups that `entities.json` does not name: right after `tollgate agent add`, but more
/// often misspelt.
pub(super) fn people(source: &Source, directory: &Directory) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    let mut findings = Vec::new();
    for (i, rule) in source.rules.iter().enumerate() {
        for uid in rule.policy.entity_literals() {
            let kind = uid.type_name().basename();
            if matches!(kind, "Agent" | "Group")
                && !directory.knows(&uid)
                && found.insert(uid.to_string())
            {
                let message = format!("`{uid}` is not in `entities.json`");
                let help = "add it there, or mend its spelling here";
                findings.push(
                    Finding::new(Severity::Warning, &source.file, message, help)
                        .at(&source.text, place(source, i, uid.id().unescaped())),
                );
            }
        }
    }
    findings
}

/// Where `literal` stands in the rule of this index, or where the rule starts.
fn place(source: &Source, index: usize, literal: &str) -> usize {
    let start = source.rules.get(index).map_or(0, |rule| rule.offset);
    let end = source
        .rules
        .get(index + 1)
        .map_or(source.text.len(), |next| next.offset);
    source
        .text
        .get(start..end)
        .and_then(|text| text.find(&format!("\"{literal}\"")))
        .map_or(start, |offset| start + offset)
}

struct Linter<'a> {
    source: &'a Source,
    plugins: Vec<&'a PluginPolicies>,
    /// For ids that don't exist: an error in a plugin's own file.
    unknown: Severity,
    findings: Vec<Finding>,
}

impl<'a> Linter<'a> {
    fn of(source: &'a Source, plugins: Vec<&'a PluginPolicies>) -> Self {
        Self {
            unknown: if source.file == SHARED {
                Severity::Warning
            } else {
                Severity::Error
            },
            source,
            plugins,
            findings: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Finding> {
        let mut ids = BTreeSet::new();
        for (index, rule) in self.source.rules.iter().enumerate() {
            if !ids.insert(&rule.reference.id) {
                let message = format!("a second rule with `@id(\"{}\")`", rule.reference.id);
                let help = "give each rule its own, so that records tell them apart";
                let at = rule.offset;
                self.push(Severity::Warning, at, message, help.to_owned());
            }
            self.unanswerable(rule);
            for uid in rule.policy.entity_literals() {
                self.entity(index, &uid);
            }
            if let Ok(tree) = rule.policy.to_json() {
                self.walk(index, rule, &tree);
                self.contradictions(rule, &tree);
            }
        }
        self.findings
    }

    fn push(&mut self, severity: Severity, offset: usize, message: String, help: String) {
        self.findings.push(
            Finding::new(severity, &self.source.file, message, &help).at(&self.source.text, offset),
        );
    }

    fn is_own(&self) -> bool {
        self.source.file != SHARED
    }

    /// A rule that keeps for a person what does not wait for one.
    fn unanswerable(&mut self, rule: &Rule) {
        if !rule.asks() {
            return;
        }
        let held: BTreeSet<&str> = self
            .plugins
            .iter()
            .flat_map(|plugin| &plugin.model.tools)
            .flat_map(|(tool, model)| model.actions.iter().map(move |action| (tool, action)))
            .filter(|(tool, action)| {
                !action.waits() && rule.meets(&format!("{}:{tool}", action.group()))
            })
            .map(|(_, action)| action.group())
            .collect();
        if held.is_empty() {
            return;
        }
        let held: Vec<String> = held.iter().map(|group| format!("`{group}`")).collect();
        let message = format!(
            "no person can agree to {}: where this rule wants that, it is refused with `approval.required`",
            held.join(", ")
        );
        let help = "keep the call (`Action::\"call:…\"`) or its request (`Action::\"http:…\"`) for a person, and let this go without";
        self.push(Severity::Warning, rule.offset, message, help.to_owned());
    }

    fn entity(&mut self, index: usize, uid: &EntityUid) {
        let id = uid.id().unescaped();
        let at = place(self.source, index, id);
        match uid.type_name().basename() {
            "Agent" if !id.starts_with("spiffe://") || id.parse::<AgentId>().is_err() => {
                let help = id.parse::<AgentId>().map_or_else(
                    |error| error.to_string(),
                    |agent| format!("write `Agent::\"{agent}\"`"),
                );
                let message = format!("`{uid}` is no agent, so this never matches");
                self.push(Severity::Error, at, message, help);
            }
            "Plugin" => {
                let known = self.plugins.iter().any(|p| p.model.plugin.as_str() == id);
                if !known && self.is_own() {
                    let message = format!("`{uid}` is another plugin, so this never matches");
                    let help = "a plugin's file answers for that plugin alone; rules for several stand in `shared.cedar`";
                    self.push(Severity::Error, at, message, help.to_owned());
                } else if !known {
                    self.absent(at, uid, "plugin");
                }
            }
            what @ ("Tool" | "Prompt" | "Resource") => {
                let known = id.parse::<ToolName>().is_ok_and(|name| {
                    self.plugins.iter().any(|plugin| {
                        let model = plugin.model.tools.get(&name);
                        model.is_some_and(|model| type_of(model.kind) == what)
                    })
                });
                if !known {
                    self.absent(at, uid, &what.to_lowercase());
                }
            }
            "Secret" => {
                let declared = self.requirements().any(|requirement| {
                    matches!(requirement, Requirement::Secret(secret) if secret.name == id)
                });
                if !declared {
                    self.absent(at, uid, "declared secret");
                }
            }
            "Origin" => self.origin(at, id),
            _ => {}
        }
    }

    fn absent(&mut self, at: usize, uid: &EntityUid, what: &str) {
        let message = format!("`{uid}` is no {what}, so this never matches");
        let help = "`tollgate plugins` lists what there is".to_owned();
        self.push(self.unknown, at, message, help);
    }

    fn requirements(&self) -> impl Iterator<Item = &'a Requirement> + use<'a> {
        self.plugins
            .clone()
            .into_iter()
            .flat_map(|p| &p.known.description.requirements)
    }

    fn origin(&mut self, at: usize, id: &str) {
        match canonical_origin(id) {
            None => {
                let message = format!("`{id}` is no origin, so this never matches");
                let help = "write scheme, host and port only, such as `https://api.example.com`";
                self.push(Severity::Error, at, message, help.to_owned());
            }
            Some(canonical) if canonical != id => {
                let message = format!("`{id}` is not in canonical form, so this never matches");
                self.push(Severity::Error, at, message, format!("write `{canonical}`"));
            }
            Some(canonical) => {
                let open = self.requirements().any(|requirement| {
                    matches!(requirement, Requirement::Http(http) if http.origin == OriginScope::AnyPublic)
                });
                let known = self
                    .plugins
                    .iter()
                    .any(|p| p.known.origins.values().any(|origin| *origin == canonical));
                if !open && !known {
                    let message = format!("no requirement has the origin `{id}`");
                    let help = "mend its spelling, or set the plugin's setting to it";
                    self.push(Severity::Warning, at, message, help.to_owned());
                }
            }
        }
    }

    /// Every comparison of something in the context with a text or number.
    fn walk(&mut self, index: usize, rule: &Rule, tree: &Value) {
        match tree {
            Value::Array(items) => items.iter().for_each(|item| self.walk(index, rule, item)),
            Value::Object(members) => {
                for (operator, operands) in members {
                    match operator.as_str() {
                        "==" | "!=" => {
                            self.sides(index, rule, &operands["left"], &operands["right"]);
                            self.sides(index, rule, &operands["right"], &operands["left"]);
                        }
                        "contains" | "containsAll" | "containsAny" => {
                            self.sides(index, rule, &operands["right"], &operands["left"]);
                            self.sides(index, rule, &operands["left"], &operands["right"]);
                        }
                        "like" => {
                            if let (Some(key), Some(compared)) =
                                (key_of(&operands["left"]), pattern(&operands["pattern"]))
                            {
                                self.compare(index, rule, &key, &compared);
                            }
                        }
                        _ => {}
                    }
                    self.walk(index, rule, operands);
                }
            }
            _ => {}
        }
    }

    /// One key that is to equal two different texts, in conditions that must all hold.
    fn contradictions(&mut self, rule: &Rule, tree: &Value) {
        let mut equal: BTreeMap<String, String> = BTreeMap::new();
        let conditions = tree.get("conditions").and_then(Value::as_array);
        for condition in conditions.into_iter().flatten() {
            if condition.get("kind").and_then(Value::as_str) != Some("when") {
                continue;
            }
            let mut left = vec![&condition["body"]];
            while let Some(part) = left.pop() {
                if let Some(both) = part.get("&&") {
                    left.extend([&both["left"], &both["right"]]);
                    continue;
                }
                let (Some(one), Some(other)) =
                    (part.pointer("/==/left"), part.pointer("/==/right"))
                else {
                    continue;
                };
                let Some((key, Value::String(text))) = key_of(one)
                    .zip(other.get("Value"))
                    .or_else(|| key_of(other).zip(one.get("Value")))
                else {
                    continue;
                };
                if let Some(first) = equal.insert(key.clone(), text.clone())
                    && first != *text
                {
                    let message = format!(
                        "`{key}` can't be both `{text}` and `{first}`, so this never matches"
                    );
                    let help =
                        format!("write `[\"{text}\", \"{first}\"].contains({key})` for either");
                    self.push(Severity::Error, rule.offset, message, help);
                }
            }
        }
    }

    /// Whether each tool that the rule is about and that has this argument takes only other texts.
    fn never_an_argument(&self, rule: &Rule, name: &str, text: &str) -> bool {
        let actions = rule.actions();
        let about = |tool: &str| {
            actions.is_empty()
                || actions
                    .iter()
                    .any(|uid| match uid.id().unescaped().split_once(':') {
                        Some((_, named)) => named == tool,
                        None => true,
                    })
        };
        let mut values = self
            .plugins
            .iter()
            .flat_map(|p| &p.known.description.tools)
            .filter(|tool| about(&tool.name.to_string()))
            .filter_map(|tool| tool.input_schema.get("properties")?.get(name))
            .map(|property| property.get("enum").and_then(Value::as_array))
            .peekable();
        values.peek().is_some()
            && values.all(|values| {
                values.is_some_and(|values| !values.iter().any(|value| value == text))
            })
    }

    fn sides(&mut self, index: usize, rule: &Rule, key: &Value, literal: &Value) {
        let Some(key) = key_of(key) else { return };
        let literals = match literal.get("Set").and_then(Value::as_array) {
            Some(items) => items.iter().collect(),
            None => vec![literal],
        };
        for literal in literals.iter().filter_map(|l| l.get("Value")) {
            match literal {
                Value::String(text) => {
                    let compared = Compared {
                        pieces: vec![text.clone()],
                        exact: true,
                    };
                    self.compare(index, rule, &key, &compared);
                }
                Value::Number(number)
                    if key == "context.port"
                        && number.as_i64().is_none_or(|n| !(1..=65_535).contains(&n)) =>
                {
                    let message = format!("`{number}` is no port, so this never matches");
                    self.push(Severity::Error, rule.offset, message, String::new());
                }
                _ => {}
            }
        }
    }

    fn compare(&mut self, index: usize, rule: &Rule, key: &str, compared: &Compared) {
        let text = compared.text();
        let at = place(self.source, index, &text);
        let upper = compared.any(|c: char| c.is_ascii_uppercase());
        let groups: Vec<String> = rule
            .actions()
            .iter()
            .filter_map(|uid| uid.id().unescaped().split(':').next().map(str::to_owned))
            .collect();
        let only = |group: &str| !groups.is_empty() && groups.iter().all(|g| g == group);
        let never: Option<&str> = match key {
            "context.method" if compared.exact && !METHODS.contains(&text.as_str()) => Some(
                "methods are `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`, in capitals",
            ),
            "context.method" if compared.any(|c| !c.is_ascii_uppercase()) => {
                Some("methods are in capitals")
            }
            "context.path" if compared.any(|c| matches!(c, '?' | '#')) => {
                Some("the path ends before `?`; whether there is a query is `context.query`")
            }
            "context.path" if !compared.first().starts_with('/') && starts(compared) => {
                Some("every path starts with `/`")
            }
            "context.path" if dots(compared) => Some("a canonical path has no `.` or `..` segment"),
            "context.host" if upper => Some("hosts are in lower case"),
            "context.host" if compared.any(|c| matches!(c, '/')) => Some(
                "a host has no scheme, port or path; these are `context.scheme`, `context.port` and `context.path`",
            ),
            "context.host" if compared.exact && !is_host(&text) => {
                Some("a host is in its canonical form, without a port or a dot at its end")
            }
            "context.scheme"
                if only("http")
                    && compared.exact
                    && !["http", "https"].contains(&text.as_str()) =>
            {
                Some("schemes of requests are `https` and `http`")
            }
            "context.transport" if compared.exact && !TRANSPORTS.contains(&text.as_str()) => {
                Some("transports are `http`, `stdio` and `cli`")
            }
            "context.plugin_digest" if compared.exact && text.parse::<Digest>().is_err() => Some(
                "a digest is `sha256:` and 64 lower-case hexadecimal digits; `tollgate plugins` shows it",
            ),
            "context.origin" if compared.exact => return self.origin(at, &text),
            "context.requirement" if compared.exact => {
                let declared = self
                    .requirements()
                    .any(|r| matches!(r, Requirement::Http(http) if http.name == text));
                if !declared {
                    let message = format!(
                        "no plugin has an http requirement `{text}`, so this never matches"
                    );
                    self.push(
                        self.unknown,
                        at,
                        message,
                        "`tollgate plugins inspect` lists them".to_owned(),
                    );
                }
                None
            }
            "context.secrets" if compared.exact => {
                let declared = self
                    .requirements()
                    .any(|r| matches!(r, Requirement::Secret(secret) if secret.name == text));
                if !declared {
                    self.absent(at, &entities::secret(&text), "declared secret");
                }
                None
            }
            "context.task.id" if compared.exact && text.parse::<TaskId>().is_err() => Some(
                "a task's identifier is `task_` and 16 letters and digits; `tollgate task list` shows them",
            ),
            "context.task.labels" if compared.exact => {
                let mut labels = self.plugins.iter().flat_map(|p| &p.known.labels);
                if !labels.any(|label| *label == text) {
                    let message = format!("no tool puts the label `{text}` on a task");
                    let help = "set `labels` in `[plugin.<name>.tool.<tool>]` of `tollgate.toml`, or mend its spelling here";
                    self.push(Severity::Warning, at, message, help.to_owned());
                }
                None
            }
            "context.tier" if compared.exact => {
                let mut tiers = self.plugins.iter().flat_map(|p| p.known.tiers.values());
                if tiers.clone().next().is_some() && !tiers.any(|tier| *tier == text) {
                    let message = format!("no tool has the tier `{text}`");
                    self.push(Severity::Warning, at, message, String::new());
                }
                None
            }
            _ => match key.strip_prefix("context.args.") {
                Some(name) if compared.exact && self.never_an_argument(rule, name, &text) => {
                    Some("the tool's input schema lists the texts that this argument takes")
                }
                _ => None,
            },
        };
        if let Some(help) = never {
            let message = format!("`{key}` is never `{text}`, so this never matches");
            self.push(Severity::Error, at, message, help.to_owned());
        }
    }
}
