//! What came back of a plugin's questions, held against what was asked.

use rmcp::ErrorData;
use rmcp::model::InputResponses;
use serde_json::Value;

use super::result::shown;
use super::seal::Asked;
use crate::call::{Ask, Question, TooMuch};
use crate::limits::protocol::{ANSWER_BYTES, ANSWERS};
use crate::name::is_plain;
use crate::plugin::{QuestionKind, Schema};

/// The answers among `responses`: of what was `asked`, or, where nothing was, of what they answer unasked.
/// What else stands there is left out.
pub(super) fn answers(
    responses: Option<&InputResponses>,
    asked: Option<&[Asked]>,
) -> Result<Vec<(String, Value)>, ErrorData> {
    let wrong = |key: &str| {
        let shown = shown(key);
        ErrorData::invalid_params(format!("`inputResponses.{shown}` is no answer"), None)
    };
    let mut answers = Vec::new();
    let mut bytes = 0;
    for (key, value) in responses.into_iter().flatten() {
        let question = match asked {
            None if !is_plain(key) => continue,
            None => None,
            Some(asked) => match asked.iter().find(|question| question.key == *key) {
                Some(question) => Some(question),
                None => continue,
            },
        };
        if !is_answer(value, question) {
            return Err(wrong(key));
        }
        bytes += key.len() + value.to_string().len();
        if answers.len() == ANSWERS || bytes > ANSWER_BYTES {
            return Err(ErrorData::invalid_params(
                format!("`inputResponses` has more than {ANSWERS} answers or {ANSWER_BYTES} bytes"),
                None,
            ));
        }
        answers.push((key.clone(), value.clone()));
    }
    Ok(answers)
}

/// Whether `value` has the form of an answer, to `question` where it is known which.
pub(super) fn is_answer(value: &Value, question: Option<&Asked>) -> bool {
    let Some(members) = value.as_object() else {
        return false;
    };
    let Some(question) = question else {
        return true;
    };
    match question.kind {
        QuestionKind::Form | QuestionKind::Url => {
            let content = members.get("content");
            match members.get("action").and_then(Value::as_str) {
                Some("accept") => is_filled_in(content, question.schema.as_ref()),
                Some("decline" | "cancel") => content.is_none_or(Value::is_object),
                _ => false,
            }
        }
        QuestionKind::Sampling => members.contains_key("content"),
        QuestionKind::Roots => members.get("roots").is_some_and(Value::is_array),
    }
}

/// Whether a form's content is what its schema asks for.
fn is_filled_in(content: Option<&Value>, schema: Option<&Value>) -> bool {
    let Some(schema) = schema else {
        return content.is_none_or(Value::is_object);
    };
    // It was compiled when the plugin asked.
    let compiled = Schema::compile(schema, "a question").ok();
    content.is_some_and(|content| {
        content.is_object() && compiled.is_some_and(|schema| schema.fault(content).is_none())
    })
}

/// What a client is told whose answers are too many bytes, over all rounds of its call.
pub(super) fn too_much(too_much: TooMuch) -> ErrorData {
    ErrorData::invalid_params(too_much.to_string(), None)
}

pub(super) fn as_asked(question: &Question) -> Asked {
    Asked {
        key: question.key.clone(),
        kind: question.ask.kind(),
        schema: match &question.ask {
            Ask::Form { schema, .. } => Some(schema.clone()),
            Ask::Url { .. } | Ask::Sampling(_) | Ask::Roots => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn responses(value: Value) -> InputResponses {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn answers_are_of_what_was_asked_and_have_its_form() {
        let asked = [
            Asked {
                key: "name".into(),
                kind: QuestionKind::Form,
                schema: Some(json!({
                    "type": "object",
                    "properties": {"name": {"type": "string", "maxLength": 20}},
                    "required": ["name"],
                })),
            },
            Asked {
                key: "roots".into(),
                kind: QuestionKind::Roots,
                schema: None,
            },
        ];
        let given = responses(json!({
            "name": {"action": "accept", "content": {"name": "Ada"}},
            "other": {"action": "accept"},
        }));
        let found = answers(Some(&given), Some(&asked)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "name");
        for wrong in [
            json!({"name": 12345}),
            json!({"name": {"action": "yes"}}),
            json!({"name": {"action": "accept", "content": 1}}),
            json!({"name": {"action": "accept"}}),
            json!({"name": {"action": "accept", "content": {}}}),
            json!({"name": {"action": "accept", "content": {"name": 1}}}),
            json!({"name": {"action": "accept", "content": {"name": "far too long for a name"}}}),
            json!({"name": {"action": "decline", "content": 1}}),
            json!({"roots": {"roots": "all"}}),
        ] {
            assert!(answers(Some(&responses(wrong)), Some(&asked)).is_err());
        }
        let declined = responses(json!({"name": {"action": "decline"}}));
        assert_eq!(answers(Some(&declined), Some(&asked)).unwrap().len(), 1);
        assert!(answers(None, Some(&asked)).unwrap().is_empty());
    }

    #[test]
    fn unasked_answers_are_objects_and_few() {
        let given = responses(json!({"a": {"action": "accept"}, "no name": {}}));
        assert_eq!(answers(Some(&given), None).unwrap().len(), 1);
        assert!(answers(Some(&responses(json!({"a": 1}))), None).is_err());
        let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("a{n}"), json!({}))).collect();
        assert!(answers(Some(&responses(many.into())), None).is_err());
        let large = json!({"a": {"x": "y".repeat(ANSWER_BYTES)}});
        assert!(answers(Some(&responses(large)), None).is_err());
    }
}
