//! Facts and checks, built as values: no text of anyone is ever parsed as Datalog here.

use biscuit_auth::builder::{Binary, Check, CheckKind, Expression, Op, Predicate, Rule, Term};
use serde_json::Value;

/// Scalars of the arguments that checks can see.
pub(super) const MAX_ARGUMENTS: usize = 32;

/// Bytes of one of them.
pub(super) const MAX_TEXT: usize = 1 << 10;

fn check(body: Predicate, expressions: Vec<Expression>) -> Check {
    Check {
        queries: vec![Rule::new(
            Predicate::new("query".into(), vec![]),
            vec![body],
            expressions,
            vec![],
        )],
        kind: CheckKind::One,
    }
}

pub(super) fn is(name: &str, terms: Vec<Term>) -> Check {
    check(Predicate::new(name.into(), terms), vec![])
}

pub(super) fn time_check(expires: u64) -> Check {
    let now = || Term::Variable("time".into());
    check(
        Predicate::new("time".into(), vec![now()]),
        vec![Expression {
            ops: vec![
                Op::Value(now()),
                Op::Value(Term::Date(expires)),
                Op::Binary(Binary::LessThan),
            ],
        }],
    )
}

/// A value that a check can compare. Numbers that are not whole have no exact form in Datalog.
pub(super) fn scalar(value: &Value) -> Option<Term> {
    match value {
        Value::String(text) if text.len() <= MAX_TEXT => Some(Term::Str(text.clone())),
        Value::Number(number) => number.as_i64().map(Term::Integer),
        Value::Bool(truth) => Some(Term::Bool(*truth)),
        Value::Null => Some(Term::Null),
        _ => None,
    }
}

/// The scalars of `value` by JSON pointer; false where there are too many.
pub(super) fn leaves(value: &Value, at: &mut String, out: &mut Vec<(String, Term)>) -> bool {
    let length = at.len();
    let good = match value {
        Value::Object(members) => members.iter().all(|(name, member)| {
            at.push('/');
            at.push_str(&name.replace('~', "~0").replace('/', "~1"));
            let good = leaves(member, at, out);
            at.truncate(length);
            good
        }),
        Value::Array(items) => items.iter().enumerate().all(|(index, item)| {
            at.push('/');
            at.push_str(&index.to_string());
            let good = leaves(item, at, out);
            at.truncate(length);
            good
        }),
        other => {
            out.extend(scalar(other).map(|term| (at.clone(), term)));
            true
        }
    };
    good && out.len() <= MAX_ARGUMENTS
}
