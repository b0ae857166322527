//! What a plugin asks its client before it goes on.
//!
//! What comes back is the client's word (`call/round.rs`). Nothing here is an approval, and no answer to a
//! question is ever taken for one.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use url::Url;

use crate::json;
use crate::name::is_plain;
use crate::plugin::{QuestionKind, Schema, Tool, hidden};
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::types as wit;
use crate::secret::Lent;

/// Questions of one round.
const MOST: usize = 16;
/// Bytes of a message to a person.
const MESSAGE: usize = 8 << 10;
/// Bytes of a form's schema, or of the parameters of sampling.
const BODY: usize = 64 << 10;
/// Bytes of a plugin's state.
const STATE: usize = 64 << 10;
/// Bytes of an address.
const ADDRESS: usize = 2 << 10;

/// What a plugin asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions {
    /// Each by its key.
    pub asked: Vec<Question>,
    /// What the plugin wants back. It goes to no client but sealed.
    pub state: Option<Vec<u8>>,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Letters, digits, `_` and `-`.
    pub key: String,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// To fill in a form.
    Form {
        /// For the person.
        message: String,
        /// JSON Schema of what is filled in.
        schema: Value,
    },
    /// To open an address.
    Url {
        /// For the person.
        message: String,
        /// Where.
        url: String,
    },
    /// To have the client's model complete something, with MCP's own parameters.
    Sampling(Value),
    /// For the client's roots.
    Roots,
}

impl Ask {
    /// What kind of question it is.
    #[must_use]
    pub const fn kind(&self) -> QuestionKind {
        match self {
            Self::Form { .. } => QuestionKind::Form,
            Self::Url { .. } => QuestionKind::Url,
            Self::Sampling(_) => QuestionKind::Sampling,
            Self::Roots => QuestionKind::Roots,
        }
    }

    /// The host of the address that a person is to open; empty for other questions.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Url { url, .. } => Url::parse(url)
                .ok()
                .and_then(|url| url.host_str().map(str::to_owned))
                .unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// The request of MCP that asks it.
    #[must_use]
    pub fn to_request(&self) -> Value {
        match self {
            Self::Form { message, schema } => json!({
                "method": "elicitation/create",
                "params": {"mode": "form", "message": message, "requestedSchema": schema},
            }),
            Self::Url { message, url } => json!({
                "method": "elicitation/create",
                "params": {"mode": "url", "message": message, "url": url, "elicitationId": ""},
            }),
            Self::Sampling(parameters) => {
                json!({"method": "sampling/createMessage", "params": parameters})
            }
            Self::Roots => json!({"method": "roots/list"}),
        }
    }
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::ResultInvalid, message)
}

impl Questions {
    /// What `said` asks, within bounds.
    pub(super) fn read(said: wit::InputRequest) -> Result<Self, Refusal> {
        if said.questions.is_empty() || said.questions.len() > MOST {
            return Err(invalid(format!(
                "{} questions; a round has 1 to {MOST}",
                said.questions.len()
            )));
        }
        if let Some(state) = said.state.as_ref().filter(|state| state.len() > STATE) {
            return Err(Refusal::new(
                Reason::ResultTooLarge,
                format!(
                    "the state of a question has {} bytes, at most {STATE}",
                    state.len()
                ),
            ));
        }
        let mut asked: Vec<Question> = Vec::with_capacity(said.questions.len());
        for question in said.questions {
            if !is_plain(&question.key) || asked.iter().any(|other| other.key == question.key) {
                return Err(invalid(
                    "a question's key is no name, or stands there twice",
                ));
            }
            asked.push(Question {
                ask: ask(question.kind)?,
                key: question.key,
            });
        }
        Ok(Self {
            asked,
            state: said.state,
        })
    }

    /// The kinds of these that are not among `offers`.
    #[must_use]
    pub fn beyond(&self, offers: &[QuestionKind]) -> Vec<QuestionKind> {
        let mut kinds: Vec<_> = self
            .asked
            .iter()
            .map(|question| question.ask.kind())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.retain(|kind| !offers.contains(kind));
        kinds
    }

    /// Whether `tool` says that it asks these, and the client can be asked.
    pub(super) fn may_be_asked(&self, tool: &Tool, offers: &[QuestionKind]) -> Result<(), Refusal> {
        let list = |kinds: &[QuestionKind]| {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            kinds.join(", ")
        };
        let undeclared = self.beyond(&tool.asks);
        if !undeclared.is_empty() {
            return Err(Refusal::new(
                Reason::GrantAbsent,
                format!(
                    "the plugin asks the client something that it never declared: {}",
                    list(&undeclared)
                ),
            ));
        }
        let lacking = self.beyond(offers);
        if !lacking.is_empty() {
            return Err(Refusal::new(
                Reason::InputUnsupported,
                format!(
                    "the tool has to ask something that this client does not offer: {}",
                    list(&lacking)
                ),
            ));
        }
        Ok(())
    }

    /// The requests, by their keys: what the client is sent.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let requests: Map<String, Value> = self
            .asked
            .iter()
            .map(|question| (question.key.clone(), question.ask.to_request()))
            .collect();
        json!({ "inputRequests": requests })
    }

    /// Refuses these where a lent value stands in a key or in the state. It can't be taken out there: answers
    /// come back by their keys, and a state goes back to the plugin as it was, when nothing is lent any more.
    pub(super) fn withhold(&self, lent: &Lent) -> Result<(), Refusal> {
        let state = self.state.as_deref().map(|state| (state, "the state"));
        let keys = self.asked.iter().map(|question| question.key.as_bytes());
        let found = keys
            .map(|key| (key, "a key"))
            .chain(state)
            .find_map(|(bytes, place)| lent.finds_in(bytes, place));
        match found {
            None => Ok(()),
            Some(found) => Err(Refusal::new(
                Reason::SecretInRequest,
                format!("a lent secret stands in {} of a question", found.place),
            )
            .with_detail(format!("the secret `{}`", found.name))),
        }
    }

    /// Every text of it that a client or a person gets.
    pub(super) fn redact(&mut self, lent: &Lent) -> u64 {
        let mut count = 0;
        for question in &mut self.asked {
            count += match &mut question.ask {
                Ask::Form { message, schema } => {
                    lent.redact_in_place(message) + lent.redact_json(schema)
                }
                Ask::Url { message, url } => {
                    lent.redact_in_place(message) + lent.redact_in_place(url)
                }
                Ask::Sampling(parameters) => lent.redact_json(parameters),
                Ask::Roots => 0,
            };
        }
        count
    }
}

fn message(text: String) -> Result<String, Refusal> {
    if text.is_empty() || text.len() > MESSAGE {
        return Err(invalid(format!(
            "the message of a question has {} bytes; it has 1 to {MESSAGE}",
            text.len()
        )));
    }
    // A person reads it in a client's own window.
    match hidden(&text) {
        Some(found) => Err(invalid(format!("the message of a question holds {found}"))),
        None => Ok(text),
    }
}

fn object(what: &str, text: &str) -> Result<Value, Refusal> {
    let bounds = json::Limits {
        bytes: BODY,
        depth: 32,
        nodes: 10_000,
    };
    let value = json::parse_any_number(text.as_bytes(), &bounds)
        .map_err(|fault| invalid(format!("{what} of a question: {fault}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(invalid(format!("{what} of a question is not an object")))
    }
}

/// A schema that answers can be held against.
fn schema(text: &str) -> Result<Value, Refusal> {
    let schema = object("the schema", text)?;
    Schema::compile(&schema, "the schema of a question")
        .map_err(|refusal| invalid(refusal.message))?;
    Ok(schema)
}

fn ask(said: wit::QuestionKind) -> Result<Ask, Refusal> {
    Ok(match said {
        wit::QuestionKind::Form(form) => Ask::Form {
            message: message(form.message)?,
            schema: schema(&form.schema)?,
        },
        wit::QuestionKind::Url(to) => Ask::Url {
            message: message(to.message)?,
            url: address(&to.url)?,
        },
        wit::QuestionKind::Sampling(parameters) => {
            let mut parameters = object("the parameters", &parameters)?;
            // A client shows them to its user before its model gets them.
            json::clean(&mut parameters);
            Ask::Sampling(parameters)
        }
        wit::QuestionKind::Roots => Ask::Roots,
    })
}

/// An address that a person may be sent to, in its canonical form.
fn address(text: &str) -> Result<String, Refusal> {
    let wrong = || {
        invalid(
            "the address of a question is not `https` (or `http` to the loopback), without user info, at most 2 KiB",
        )
    };
    if text.len() > ADDRESS {
        return Err(wrong());
    }
    let url = Url::parse(text).map_err(|_| wrong())?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let secure = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    if !secure || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(kind: wit::QuestionKind) -> Result<Questions, Refusal> {
        Questions::read(wit::InputRequest {
            questions: vec![wit::Question {
                key: "a".into(),
                kind,
            }],
            state: None,
        })
    }

    fn form(message: &str, schema: &str) -> wit::QuestionKind {
        wit::QuestionKind::Form(wit::FormQuestion {
            message: message.into(),
            schema: schema.into(),
        })
    }

    fn url(url: &str) -> wit::QuestionKind {
        wit::QuestionKind::Url(wit::UrlQuestion {
            message: "m".into(),
            url: url.into(),
        })
    }

    #[test]
    fn a_question_is_bounded_and_shows_what_it_says() {
        assert!(asks(form("Name?", r#"{"type":"object","properties":{}}"#)).is_ok());
        for bad in [
            form("", "{}"),
            form("a\u{202e}b", "{}"),
            form("m", "[]"),
            form("m", "no"),
            form("m", r#"{"type":"no such type"}"#),
            form(&"m".repeat(MESSAGE + 1), "{}"),
            wit::QuestionKind::Sampling("1".into()),
        ] {
            assert_eq!(asks(bad).unwrap_err().reason, Reason::ResultInvalid);
        }
        let twice = wit::Question {
            key: "a".into(),
            kind: wit::QuestionKind::Roots,
        };
        for questions in [vec![], vec![twice.clone(), twice]] {
            let said = wit::InputRequest {
                questions,
                state: None,
            };
            assert!(Questions::read(said).is_err());
        }
    }

    #[test]
    fn what_a_model_is_asked_holds_no_letter_that_hides() {
        let said = r#"{"messages":[{"role":"user","content":{"type":"text","text":"a\u202eb\u200b\nc"}}],"k\u200bey":"\u001b[31m"}"#;
        let asked = asks(wit::QuestionKind::Sampling(said.into())).unwrap();
        let expected = json!({
            "messages": [{"role": "user", "content": {"type": "text", "text": "ab\nc"}}],
            "key": "[31m",
        });
        assert_eq!(asked.asked[0].ask, Ask::Sampling(expected));
    }

    #[test]
    fn a_person_is_sent_to_no_address_that_could_deceive() {
        for good in [
            "https://a.example/x?y",
            "http://127.0.0.1:8788/x",
            "http://localhost/",
        ] {
            assert!(asks(url(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://a.example/",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://bank.example@evil.example/",
            "/relative",
            "",
        ] {
            assert!(asks(url(bad)).is_err(), "{bad}");
        }
        assert_eq!(
            asks(url("https://A.Example/")).unwrap().asked[0].ask.host(),
            "a.example"
        );
    }

    #[test]
    fn what_a_client_lacks_is_named_once() {
        let mut questions = asks(form("m", "{}")).unwrap();
        questions.asked.push(Question {
            key: "b".into(),
            ask: Ask::Roots,
        });
        questions.asked.push(Question {
            key: "c".into(),
            ask: Ask::Roots,
        });
        assert_eq!(
            questions.beyond(&[QuestionKind::Form]),
            [QuestionKind::Roots]
        );
        assert!(questions.beyond(&QuestionKind::ALL).is_empty());
    }
}
