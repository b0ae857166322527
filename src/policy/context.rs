//! Contexts: what the host knows of a question, as Cedar values.
//!
//! Keys and types come from the vocabulary, arguments only from the tool's mapped schema, so every
//! context conforms to the generated schema by construction; a test holds the two against each
//! other.

use std::collections::HashSet;

use cedar_policy::RestrictedExpression;
use serde_json::Value;

use crate::clock::rfc3339;
use crate::identity::AgentId;

use super::argument::{self, Field};
use super::entities;
use super::question::{ApproveQuestion, CallFacts, CallQuestion, Fact, TaskFacts};
use super::round;
use super::vocabulary::{HostAction, Key};

/// Keys and values of a context, without `approved` and `approvers`.
pub(super) type Pairs = Vec<(&'static str, RestrictedExpression)>;

/// What the rules of a slice can see. The rest of a context is not built: nothing would read it,
/// and a document of a megabyte among the arguments need not be copied.
#[derive(Debug, Default)]
pub(super) struct Mentioned {
    everything: bool,
    keys: HashSet<String>,
    all_arguments: bool,
    arguments: HashSet<String>,
}

impl Mentioned {
    /// Adds what this rule (in Cedar's JSON form) can see.
    pub(super) fn add(&mut self, rule: &Value) {
        if let Some(path) = path(rule) {
            self.record(&path);
            return;
        }
        if let Some(test) = rule.get("has")
            && let Some(mut path) = test.get("left").and_then(path)
        {
            match test.get("attr") {
                Some(Value::String(name)) => path.push(name),
                Some(Value::Array(names)) => path.extend(names.iter().filter_map(Value::as_str)),
                _ => {}
            }
            self.record(&path);
            return;
        }
        match rule {
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(members) => members.values().for_each(|member| self.add(member)),
            _ => {}
        }
    }

    /// A rule whose form is not known sees everything.
    pub(super) const fn add_everything(&mut self) {
        self.everything = true;
    }

    fn record(&mut self, path: &[&str]) {
        match path {
            [] => self.everything = true,
            ["args"] => self.all_arguments = true,
            ["args", name, ..] => {
                self.arguments.insert((*name).to_owned());
            }
            [key, ..] => {
                self.keys.insert((*key).to_owned());
            }
        }
    }

    pub(super) fn key(&self, name: &str) -> bool {
        self.everything || self.keys.contains(name)
    }

    fn argument(&self, name: &str) -> bool {
        self.everything || self.all_arguments || self.arguments.contains(name)
    }
}

/// The attributes from `context` on, of `context.args.body` and the like.
fn path(tree: &Value) -> Option<Vec<&str>> {
    if tree.get("Var").and_then(Value::as_str) == Some("context") {
        return Some(Vec::new());
    }
    let access = tree.get(".")?;
    let mut path = path(access.get("left")?)?;
    path.push(access.get("attr")?.as_str()?);
    Some(path)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn common(fields: &[Field], seen: &Mentioned, call: &CallFacts<'_>) -> Result<Pairs, String> {
    let members = call
        .arguments
        .members()
        .ok_or_else(|| String::from("the arguments are not an object"))?;
    let args = argument::record(fields, members, "args", &|name| seen.argument(name))
        .map_err(|path| format!("`{path}` is missing or not of its declared type"))?;
    let mut pairs = Vec::with_capacity(10);
    pairs.push(("args", args));
    if seen.key("tier") {
        pairs.push(("tier", text(call.tier)));
    }
    if seen.key("time") {
        let time = RestrictedExpression::new_datetime(rfc3339(call.time));
        pairs.push(("time", time));
    }
    if seen.key("round") {
        let number = RestrictedExpression::new_long(round::number(call.round));
        pairs.push(("round", number));
    }
    if seen.key("answers") {
        let leaves = round::answers(call.round)?;
        let leaves = leaves.into_iter().map(RestrictedExpression::new_string);
        pairs.push(("answers", RestrictedExpression::new_set(leaves)));
    }
    if let Some(user) = call.user.filter(|_| seen.key("user")) {
        let user = entities::user(user);
        pairs.push(("user", RestrictedExpression::new_entity_uid(user)));
    }
    if let Some(task) = call.task.filter(|_| seen.key("task")) {
        pairs.push(("task", task_record(task)?));
    }
    // Not in an order, and without the one that is asked about.
    if seen.key("chain") {
        let agents = call.chain.iter().map(agent);
        pairs.push(("chain", RestrictedExpression::new_set(agents)));
    }
    Ok(pairs)
}

fn agent(id: &AgentId) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(entities::agent(id.as_str()))
}

pub(super) fn call(
    fields: &[Field],
    seen: &Mentioned,
    question: &CallQuestion<'_>,
) -> Result<Pairs, String> {
    let mut pairs = common(fields, seen, &question.call)?;
    if seen.key("plugin_digest") {
        pairs.push(("plugin_digest", text(&question.plugin_digest.to_string())));
    }
    if seen.key("transport") {
        pairs.push(("transport", text(question.transport)));
    }
    if seen.key("attempt") {
        let attempt = i64::from(question.attempt);
        pairs.push(("attempt", RestrictedExpression::new_long(attempt)));
    }
    Ok(pairs)
}

pub(super) fn approve(
    fields: &[Field],
    seen: &Mentioned,
    question: &ApproveQuestion<'_>,
) -> Result<Pairs, String> {
    let call = &question.call;
    let mut pairs = common(fields, seen, call)?;
    pairs.push(("agent", agent(call.agent)));
    pairs.push(("arguments", text(&call.arguments.digest().to_string())));
    let truth = RestrictedExpression::new_bool;
    pairs.push(("host_call", truth(question.host_call)));
    pairs.push(("standing", truth(question.standing)));
    Ok(pairs)
}

pub(super) fn host_call(
    fields: &[Field],
    seen: &Mentioned,
    call: &CallFacts<'_>,
    action: HostAction,
    facts: Vec<(&'static str, Fact)>,
) -> Result<Pairs, String> {
    let keys = action.keys();
    let fits = |key: &Key| {
        let mut found = facts.iter().filter(|(name, _)| *name == key.name);
        found
            .next()
            .is_some_and(|(_, fact)| fact.kind() == key.kind)
            && found.next().is_none()
    };
    if facts.len() != keys.len() || !keys.iter().all(fits) {
        return Err(format!(
            "the facts of a `{}` question are not those that its schema names",
            action.group()
        ));
    }
    let mut pairs = common(fields, seen, call)?;
    let seen = facts.into_iter().filter(|(name, _)| seen.key(name));
    pairs.extend(seen.map(|(name, fact)| (name, express(fact))));
    Ok(pairs)
}

fn task_record(task: &TaskFacts) -> Result<RestrictedExpression, String> {
    let whole = |n: u64| RestrictedExpression::new_long(i64::try_from(n).unwrap_or(i64::MAX));
    let members = [
        ("id", text(&task.id)),
        ("intent", text(&task.intent)),
        (
            "labels",
            RestrictedExpression::new_set(task.labels.iter().map(|label| text(label))),
        ),
        ("calls", whole(task.calls)),
        ("host_calls", whole(task.host_calls)),
    ];
    let members = members.map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(members).map_err(|error| entities::chain(&error))
}

fn express(fact: Fact) -> RestrictedExpression {
    match fact {
        Fact::Text(text) => RestrictedExpression::new_string(text),
        Fact::Whole(number) => RestrictedExpression::new_long(number),
        Fact::Truth(truth) => RestrictedExpression::new_bool(truth),
        Fact::Texts(texts) => {
            RestrictedExpression::new_set(texts.into_iter().map(RestrictedExpression::new_string))
        }
        // Cedar reads no dotted decimal inside of IPv6, and a v4 address is one either way.
        Fact::Address(address) => RestrictedExpression::new_ip(address.to_canonical().to_string()),
    }
}
