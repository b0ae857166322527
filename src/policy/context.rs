//! Contexts: what the host knows of a question, as Cedar values.
//!
//! Keys and types come from the vocabulary, arguments only from the tool's mapped schema, so every
//! context conforms to the generated schema by construction; a test holds the two against each
//! other.

use std::time::Duration;

use cedar_policy::RestrictedExpression;

use crate::clock::rfc3339;
use crate::json::Arguments;

use super::argument::{self, Field};
use super::entities;
use super::question::{CallFacts, CallQuestion, Fact};
use super::vocabulary::{HostAction, Key};

/// Keys and values of a context, without `approved`.
pub(super) type Pairs = Vec<(String, RestrictedExpression)>;

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn common(
    fields: &[Field],
    arguments: &Arguments,
    tier: &str,
    time: Duration,
    user: Option<&str>,
) -> Result<Pairs, String> {
    let members = arguments
        .members()
        .ok_or_else(|| String::from("the arguments are not an object"))?;
    let args = argument::record(fields, members, "args")
        .map_err(|path| format!("`{path}` is missing or not of its declared type"))?;
    let mut pairs = Vec::with_capacity(16);
    pairs.push(("args".to_owned(), args));
    pairs.push(("tier".to_owned(), text(tier)));
    pairs.push((
        "time".to_owned(),
        RestrictedExpression::new_datetime(rfc3339(time)),
    ));
    if let Some(user) = user {
        pairs.push((
            "user".to_owned(),
            RestrictedExpression::new_entity_uid(entities::user(user)),
        ));
    }
    Ok(pairs)
}

pub(super) fn call(fields: &[Field], question: &CallQuestion<'_>) -> Result<Pairs, String> {
    let mut pairs = common(
        fields,
        question.arguments,
        question.tier,
        question.time,
        question.user,
    )?;
    pairs.push((
        "plugin_digest".to_owned(),
        text(&question.plugin_digest.to_string()),
    ));
    pairs.push(("transport".to_owned(), text(question.transport)));
    pairs.push((
        "attempt".to_owned(),
        RestrictedExpression::new_long(i64::from(question.attempt)),
    ));
    Ok(pairs)
}

pub(super) fn host_call(
    fields: &[Field],
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
    let mut pairs = common(fields, call.arguments, call.tier, call.time, call.user)?;
    pairs.extend(
        facts
            .into_iter()
            .map(|(name, fact)| (name.to_owned(), express(fact))),
    );
    Ok(pairs)
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
