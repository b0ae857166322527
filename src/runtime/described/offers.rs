//! What a component said of what it offers beside tools: prompts, resources, questions, jobs.

use serde::{Deserialize, Serialize};

use super::{flags, set};
use crate::runtime::bindings::{jobs, prompts, questions, resources};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prompt {
    name: String,
    title: Option<String>,
    description: String,
    arguments: Vec<Argument>,
    uses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    name: String,
    title: Option<String>,
    description: Option<String>,
    required: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    name: String,
    title: Option<String>,
    description: String,
    at: Place,
    mime_type: Option<String>,
    size: Option<u64>,
    uses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum Place {
    Uri(String),
    Template(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asking {
    of: String,
    kinds: Vec<Question>,
    why: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lasting {
    of: String,
    how: Vec<How>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum How {
    Must,
    AsksFirst,
}

/// Every way, and its flag in the contract.
const HOW: [(How, jobs::How); 2] = [
    (How::Must, jobs::How::MUST),
    (How::AsksFirst, jobs::How::ASKS_FIRST),
];

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Question {
    Form,
    Url,
    Sampling,
    Roots,
}

/// Every kind of question, and its flag in the contract.
const QUESTIONS: [(Question, questions::Kinds); 4] = [
    (Question::Form, questions::Kinds::FORM),
    (Question::Url, questions::Kinds::URL),
    (Question::Sampling, questions::Kinds::SAMPLING),
    (Question::Roots, questions::Kinds::ROOTS),
];

impl From<&prompts::Prompt> for Prompt {
    fn from(said: &prompts::Prompt) -> Self {
        let argument = |said: &prompts::Argument| Argument {
            name: said.name.clone(),
            title: said.title.clone(),
            description: said.description.clone(),
            required: said.required,
        };
        Self {
            name: said.name.clone(),
            title: said.title.clone(),
            description: said.description.clone(),
            arguments: said.arguments.iter().map(argument).collect(),
            uses: said.uses.clone(),
        }
    }
}

impl From<Prompt> for prompts::Prompt {
    fn from(kept: Prompt) -> Self {
        let argument = |kept: Argument| prompts::Argument {
            name: kept.name,
            title: kept.title,
            description: kept.description,
            required: kept.required,
        };
        Self {
            name: kept.name,
            title: kept.title,
            description: kept.description,
            arguments: kept.arguments.into_iter().map(argument).collect(),
            uses: kept.uses,
        }
    }
}

impl From<&resources::Offer> for Resource {
    fn from(said: &resources::Offer) -> Self {
        Self {
            name: said.name.clone(),
            title: said.title.clone(),
            description: said.description.clone(),
            at: match &said.at {
                resources::Place::Uri(uri) => Place::Uri(uri.clone()),
                resources::Place::Template(template) => Place::Template(template.clone()),
            },
            mime_type: said.mime_type.clone(),
            size: said.size,
            uses: said.uses.clone(),
        }
    }
}

impl From<Resource> for resources::Offer {
    fn from(kept: Resource) -> Self {
        Self {
            name: kept.name,
            title: kept.title,
            description: kept.description,
            at: match kept.at {
                Place::Uri(uri) => resources::Place::Uri(uri),
                Place::Template(template) => resources::Place::Template(template),
            },
            mime_type: kept.mime_type,
            size: kept.size,
            uses: kept.uses,
        }
    }
}

impl From<&questions::Asking> for Asking {
    fn from(said: &questions::Asking) -> Self {
        Self {
            of: said.of.clone(),
            kinds: set(&QUESTIONS, |flag| said.kinds.contains(*flag)),
            why: said.why.clone(),
        }
    }
}

impl From<Asking> for questions::Asking {
    fn from(kept: Asking) -> Self {
        Self {
            of: kept.of,
            kinds: flags(&QUESTIONS, &kept.kinds),
            why: kept.why,
        }
    }
}

impl From<&jobs::Lasting> for Lasting {
    fn from(said: &jobs::Lasting) -> Self {
        Self {
            of: said.of.clone(),
            how: set(&HOW, |flag| said.how.contains(*flag)),
        }
    }
}

impl From<Lasting> for jobs::Lasting {
    fn from(kept: Lasting) -> Self {
        Self {
            of: kept.of,
            how: flags(&HOW, &kept.how),
        }
    }
}
