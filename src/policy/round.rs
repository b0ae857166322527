//! A round, as rules see it: `context.round` and `context.answers`.
//!
//! Arguments have a schema that is known at load, so they are a record. Answers have none: what a plugin asks
//! it says only when it asks. So they are a set of texts, one for each value, and a rule looks for a whole one:
//! `context.answers.contains("/confirm/content/ok=true")`. What stands before the `=` is a JSON pointer from the
//! question's key on, what stands behind it is JSON. No two values have the same text: JSON never goes on
//! behind its own end, so a key can't be written that looks like another's value.

use serde_json::Value;

use super::question::RoundFacts;

/// Values in the answers of a round that rules are shown. More are no form that a person filled in.
const MOST: usize = 1_024;

/// Which round it is: 1 for the first, as records number them.
pub(super) fn number(round: Option<&RoundFacts>) -> i64 {
    round.map_or(1, |round| round.bound.number.into())
}

/// Every value of the answers, by its place.
///
/// # Errors
///
/// There are too many: a rule about them is not decided on.
pub(super) fn answers(round: Option<&RoundFacts>) -> Result<Vec<String>, String> {
    let mut leaves = Vec::new();
    let mut at = String::new();
    for (key, value) in round.into_iter().flat_map(|round| &round.answers) {
        step(&mut at, key);
        let few = walk(value, &mut at, &mut leaves);
        at.clear();
        if !few {
            return Err(format!(
                "the answers have more than {MOST} values, so no rule can see them"
            ));
        }
    }
    Ok(leaves)
}

fn step(at: &mut String, name: &str) {
    at.push('/');
    at.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

/// The values within `value`; false where there are too many.
fn walk(value: &Value, at: &mut String, out: &mut Vec<String>) -> bool {
    let length = at.len();
    match value {
        Value::Object(members) if !members.is_empty() => members.iter().all(|(name, member)| {
            step(at, name);
            let few = walk(member, at, out);
            at.truncate(length);
            few
        }),
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().all(|(index, item)| {
                step(at, &index.to_string());
                let few = walk(item, at, out);
                at.truncate(length);
                few
            })
        }
        leaf => {
            out.push(format!("{at}={}", crate::json::canonical(leaf)));
            out.len() <= MOST
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::Round;

    fn of(answers: &Value) -> Result<Vec<String>, String> {
        let round = Round {
            number: 2,
            answers: vec![("a".to_owned(), answers.clone())],
            ..Round::default()
        };
        super::answers(Some(&round.facts()))
    }

    #[test]
    fn each_value_has_its_place_and_no_other_looks_like_it() {
        let said = json!({"ok": true, "n": [1, "x"], "e": {}, "p/q~": null});
        let mut leaves = of(&said).unwrap();
        leaves.sort_unstable();
        assert_eq!(
            leaves,
            [
                "/a/e={}",
                "/a/n/0=1",
                "/a/n/1=\"x\"",
                "/a/ok=true",
                "/a/p~1q~0=null"
            ]
        );
        assert_ne!(
            of(&json!({"x": "y=true"})).unwrap(),
            of(&json!({"x=\"y": true})).unwrap()
        );
        assert_eq!(number(None), 1);
        assert_eq!(answers(None), Ok(Vec::new()));
    }

    #[test]
    fn too_many_are_none() {
        assert!(of(&json!(vec![0; MOST])).is_ok());
        assert!(of(&json!(vec![0; MOST + 1])).is_err());
    }
}
