//! Validation: rules held against the generated schema, and against what exists.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{ValidationError, ValidationMode, Validator};

use crate::name::PluginName;

use super::lint;
use super::load::{Finding, PluginPolicies, SHARED, Severity};
use super::schema::{self, Model};
use super::source::{Rule, Source, finding};

/// What is wrong with the shared rules, by the plugins that it concerns.
pub(super) type Affected = BTreeMap<PluginName, String>;

fn validate(
    source: &Source,
    schema: &serde_json::Value,
) -> Result<cedar_policy::ValidationResult, Finding> {
    let broken = |message: String| Finding::new(Severity::Error, &source.file, message, "");
    let schema = schema::read(schema).map_err(broken)?;
    let policies =
        cedar_policy::PolicySet::from_policies(source.rules.iter().map(|r| r.policy.clone()))
            .map_err(|error| broken(error.to_string()))?;
    Ok(Validator::new(schema).validate(&policies, ValidationMode::Strict))
}

/// What is wrong with a plugin's own file. Warnings of the validator are errors here.
pub(super) fn own(source: &Source, policies: &PluginPolicies) -> Vec<Finding> {
    let schema = schema::json([&policies.model], []);
    let result = match validate(source, &schema) {
        Ok(result) => result,
        Err(finding) => return vec![finding],
    };
    let mut found: Vec<Finding> = result
        .validation_errors()
        .map(|error| {
            let mut finding = located(source, error.policy_id(), Severity::Error, error);
            if finding.help.is_empty() {
                "`tollgate policy schema` prints what this plugin's rules can name"
                    .clone_into(&mut finding.help);
            }
            finding
        })
        .chain(
            result
                .validation_warnings()
                .map(|warning| located(source, warning.policy_id(), Severity::Error, warning)),
        )
        .collect();
    found.extend(lint::own(source, policies));
    found
}

fn located(
    source: &Source,
    id: &cedar_policy::PolicyId,
    severity: Severity,
    fault: &(impl miette::Diagnostic + ?Sized),
) -> Finding {
    let start = source
        .rules
        .iter()
        .find(|rule| rule.policy.id() == id)
        .map_or(0, |rule| rule.offset);
    finding(&source.file, &source.text, start, severity, fault)
}

/// What is wrong with the shared rules, and for which plugins.
///
/// A rule that names an absent plugin's action, or that no present plugin can meet, is a warning:
/// taking a plugin away must not take the others' rules down.
pub(super) fn shared(
    source: &Source,
    plugins: &BTreeMap<PluginName, PluginPolicies>,
) -> (Affected, Vec<Finding>) {
    let mut affected = Affected::new();
    let mut found = Vec::new();
    let usable: Vec<&Model> = plugins
        .values()
        .filter(|p| p.broken.is_none())
        .map(|p| &p.model)
        .collect();
    let known: BTreeSet<String> = usable.iter().flat_map(|m| m.actions()).collect();
    let mut bare = BTreeSet::new();
    for rule in &source.rules {
        for uid in rule.actions() {
            let id = uid.id().unescaped();
            let Some((_, tool)) = id.split_once(':') else {
                continue;
            };
            if known.contains(id) || !bare.insert(id.to_owned()) {
                continue;
            }
            let plugin: Option<PluginName> = tool
                .split('.')
                .next()
                .and_then(|plugin| plugin.parse().ok());
            let finding = match plugin.filter(|plugin| plugins.contains_key(plugin)) {
                Some(plugin) => {
                    let message = format!("`{plugin}` has no action `{id}`");
                    let help = "`tollgate policy schema` prints the actions that there are";
                    let finding = Finding::new(Severity::Error, SHARED, message, help)
                        .at(&source.text, rule.offset);
                    affected.insert(plugin, finding.to_string());
                    finding
                }
                None => {
                    let message = format!("no plugin that is present has the action `{id}`");
                    Finding::new(Severity::Warning, SHARED, message, "")
                        .at(&source.text, rule.offset)
                }
            };
            found.push(finding);
        }
    }
    let result = match validate(source, &schema::json(usable.iter().copied(), &bare)) {
        Ok(result) => result,
        Err(finding) => {
            let why = finding.to_string();
            let all = plugins.keys().map(|name| (name.clone(), why.clone()));
            return (all.collect(), vec![finding]);
        }
    };
    for error in result.validation_errors() {
        if let ValidationError::InvalidActionApplication(_) = error {
            if waits(source, error.policy_id(), &known) {
                continue;
            }
            let mut finding = located(source, error.policy_id(), Severity::Warning, error);
            finding.message = String::from("no plugin that is present can meet this rule");
            found.push(finding);
            continue;
        }
        let mut finding = located(source, error.policy_id(), Severity::Error, error);
        let whose = concerned(source, error.policy_id(), plugins, &known, &bare);
        let names: Vec<String> = whose.iter().map(|name| format!("`{name}`")).collect();
        finding.message = format!("{} (for {})", finding.message, names.join(", "));
        for name in whose {
            affected.entry(name).or_insert_with(|| finding.to_string());
        }
        found.push(finding);
    }
    let mut warned = BTreeSet::new();
    for warning in result.validation_warnings() {
        // Cedar gives two for one cause; and a guard for a kind of host call that no present plugin
        // makes waits for one that does.
        if waits(source, warning.policy_id(), &known) || !warned.insert(warning.policy_id().clone())
        {
            continue;
        }
        found.push(located(
            source,
            warning.policy_id(),
            Severity::Warning,
            warning,
        ));
    }
    let linted = lint::shared(source, plugins);
    if let Some(error) = linted.iter().find(|f| f.is_error()) {
        for name in plugins.keys() {
            affected
                .entry(name.clone())
                .or_insert_with(|| error.to_string());
        }
    }
    found.extend(linted);
    (affected, found)
}

/// Whether the rule is for whole groups of actions, of which there are none now.
fn waits(source: &Source, id: &cedar_policy::PolicyId, known: &BTreeSet<String>) -> bool {
    let rule = source.rules.iter().find(|rule| rule.policy.id() == id);
    let actions = rule.map(Rule::actions).unwrap_or_default();
    !actions.is_empty()
        && actions.iter().all(|uid| {
            let group = format!("{}:", uid.id().unescaped());
            !known.iter().any(|action| action.starts_with(&group))
        })
        && actions
            .iter()
            .all(|uid| !uid.id().unescaped().contains(':'))
}

/// The plugins for which this shared rule does not validate; all, where it is none of them alone.
fn concerned(
    source: &Source,
    id: &cedar_policy::PolicyId,
    plugins: &BTreeMap<PluginName, PluginPolicies>,
    known: &BTreeSet<String>,
    bare: &BTreeSet<String>,
) -> Vec<PluginName> {
    let mut alone = source.clone();
    alone.rules.retain(|rule| rule.policy.id() == id);
    let whose: Vec<PluginName> = plugins
        .iter()
        .filter(|(_, policies)| {
            let own: BTreeSet<String> = policies.model.actions().collect();
            let others: BTreeSet<String> = known
                .union(bare)
                .filter(|a| !own.contains(*a))
                .cloned()
                .collect();
            validate(&alone, &schema::json([&policies.model], &others)).map_or(true, |result| {
                result
                    .validation_errors()
                    .any(|error| !matches!(error, ValidationError::InvalidActionApplication(_)))
            })
        })
        .map(|(name, _)| name.clone())
        .collect();
    if whose.is_empty() {
        return plugins.keys().cloned().collect();
    }
    whose
}
