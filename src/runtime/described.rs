//! What a component said of itself, as it is kept beside its compiled code: it is asked once.
//!
//! Kept is what it said, not what the host made of that: each load holds it against every rule anew,
//! by the version of the host that loads.

use serde::{Deserialize, Serialize};

use super::bindings::{jobs, prompts, questions, resources, tools as wit};

/// All that a component says of itself, unchecked.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) plugin: wit::Description,
    pub(crate) prompts: Vec<prompts::Prompt>,
    pub(crate) resources: Vec<resources::Offer>,
    pub(crate) questions: Vec<questions::Asking>,
    pub(crate) jobs: Vec<jobs::Lasting>,
}

/// As the contract has it; the names of its parts are those of `wit/`. None of them may be missing: what
/// an earlier host kept may leave out what it did not ask for, and is asked anew.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: String,
    summary: String,
    tools: Vec<Tool>,
    requirements: Vec<Requirement>,
    prompts: Vec<Prompt>,
    resources: Vec<Resource>,
    questions: Vec<Asking>,
    jobs: Vec<Lasting>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompt {
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
struct Resource {
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
struct Asking {
    of: String,
    kinds: Vec<Question>,
    why: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lasting {
    of: String,
    must: bool,
    asks_first: bool,
}

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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    name: String,
    title: Option<String>,
    description: String,
    input_schema: String,
    output_schema: Option<String>,
    hints: Vec<Hint>,
    uses: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Hint {
    ReadOnly,
    Destructive,
    Idempotent,
    OpenWorld,
}

/// Every hint, and its flag in the contract.
const HINTS: [(Hint, wit::Hints); 4] = [
    (Hint::ReadOnly, wit::Hints::READ_ONLY),
    (Hint::Destructive, wit::Hints::DESTRUCTIVE),
    (Hint::Idempotent, wit::Hints::IDEMPOTENT),
    (Hint::OpenWorld, wit::Hints::OPEN_WORLD),
];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Requirement {
    Http {
        name: String,
        origin: Origin,
        methods: Vec<String>,
        paths: Vec<String>,
        why: String,
    },
    Secret {
        name: String,
        reveal: bool,
        origin: Origin,
        why: String,
    },
    Setting {
        name: String,
        description: String,
        default: Option<String>,
    },
    Clock {
        why: String,
    },
    Random {
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
enum Origin {
    Literal(String),
    Setting(String),
    AnyPublic,
}

/// What is kept of `said`.
pub(super) fn write(said: &Said) -> serde_json::Result<Vec<u8>> {
    let Said {
        plugin,
        prompts,
        resources,
        questions,
        jobs,
    } = said;
    serde_json::to_vec(&Kept {
        version: plugin.version.clone(),
        summary: plugin.summary.clone(),
        tools: plugin.tools.iter().map(Tool::from).collect(),
        requirements: plugin.requirements.iter().map(Requirement::from).collect(),
        prompts: prompts.iter().map(Prompt::from).collect(),
        resources: resources.iter().map(Resource::from).collect(),
        questions: questions.iter().map(Asking::from).collect(),
        jobs: jobs.iter().map(Lasting::from).collect(),
    })
}

/// What was said, from what was kept; none where it is of another form.
pub(super) fn read(kept: &[u8]) -> Option<Said> {
    let kept: Kept = serde_json::from_slice(kept).ok()?;
    Some(Said {
        plugin: wit::Description {
            version: kept.version,
            summary: kept.summary,
            tools: kept.tools.into_iter().map(wit::Tool::from).collect(),
            requirements: kept
                .requirements
                .into_iter()
                .map(wit::Requirement::from)
                .collect(),
        },
        prompts: kept.prompts.into_iter().map(Prompt::into).collect(),
        resources: kept.resources.into_iter().map(Resource::into).collect(),
        questions: kept.questions.into_iter().map(Asking::into).collect(),
        jobs: kept.jobs.into_iter().map(Lasting::into).collect(),
    })
}

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
            kinds: QUESTIONS
                .iter()
                .filter(|(_, flag)| said.kinds.contains(*flag))
                .map(|(kind, _)| *kind)
                .collect(),
            why: said.why.clone(),
        }
    }
}

impl From<Asking> for questions::Asking {
    fn from(kept: Asking) -> Self {
        Self {
            of: kept.of,
            kinds: QUESTIONS
                .iter()
                .filter(|(kind, _)| kept.kinds.contains(kind))
                .fold(questions::Kinds::empty(), |all, (_, flag)| all | *flag),
            why: kept.why,
        }
    }
}

impl From<&jobs::Lasting> for Lasting {
    fn from(said: &jobs::Lasting) -> Self {
        Self {
            of: said.of.clone(),
            must: said.how.contains(jobs::How::MUST),
            asks_first: said.how.contains(jobs::How::ASKS_FIRST),
        }
    }
}

impl From<Lasting> for jobs::Lasting {
    fn from(kept: Lasting) -> Self {
        let flag = |set: bool, flag| if set { flag } else { jobs::How::empty() };
        Self {
            of: kept.of,
            how: flag(kept.must, jobs::How::MUST) | flag(kept.asks_first, jobs::How::ASKS_FIRST),
        }
    }
}

impl From<&wit::Tool> for Tool {
    fn from(said: &wit::Tool) -> Self {
        Self {
            name: said.name.clone(),
            title: said.title.clone(),
            description: said.description.clone(),
            input_schema: said.input_schema.clone(),
            output_schema: said.output_schema.clone(),
            hints: HINTS
                .iter()
                .filter(|(_, flag)| said.hints.contains(*flag))
                .map(|(hint, _)| *hint)
                .collect(),
            uses: said.uses.clone(),
        }
    }
}

impl From<Tool> for wit::Tool {
    fn from(kept: Tool) -> Self {
        Self {
            name: kept.name,
            title: kept.title,
            description: kept.description,
            input_schema: kept.input_schema,
            output_schema: kept.output_schema,
            hints: HINTS
                .iter()
                .filter(|(hint, _)| kept.hints.contains(hint))
                .fold(wit::Hints::empty(), |all, (_, flag)| all | *flag),
            uses: kept.uses,
        }
    }
}

impl From<&wit::Requirement> for Requirement {
    fn from(said: &wit::Requirement) -> Self {
        match said {
            wit::Requirement::Http(http) => Self::Http {
                name: http.name.clone(),
                origin: Origin::from(&http.origin),
                methods: http.methods.clone(),
                paths: http.paths.clone(),
                why: http.why.clone(),
            },
            wit::Requirement::Secret(secret) => Self::Secret {
                name: secret.name.clone(),
                reveal: match secret.use_ {
                    wit::SecretUse::Reveal => true,
                    wit::SecretUse::Attach => false,
                },
                origin: Origin::from(&secret.origin),
                why: secret.why.clone(),
            },
            wit::Requirement::Setting(setting) => Self::Setting {
                name: setting.name.clone(),
                description: setting.description.clone(),
                default: setting.default.clone(),
            },
            wit::Requirement::Clock(plain) => Self::Clock {
                why: plain.why.clone(),
            },
            wit::Requirement::Random(plain) => Self::Random {
                why: plain.why.clone(),
            },
        }
    }
}

impl From<Requirement> for wit::Requirement {
    fn from(kept: Requirement) -> Self {
        match kept {
            Requirement::Http {
                name,
                origin,
                methods,
                paths,
                why,
            } => Self::Http(wit::HttpRequirement {
                name,
                origin: origin.into(),
                methods,
                paths,
                why,
            }),
            Requirement::Secret {
                name,
                reveal,
                origin,
                why,
            } => Self::Secret(wit::SecretRequirement {
                name,
                use_: if reveal {
                    wit::SecretUse::Reveal
                } else {
                    wit::SecretUse::Attach
                },
                origin: origin.into(),
                why,
            }),
            Requirement::Setting {
                name,
                description,
                default,
            } => Self::Setting(wit::SettingRequirement {
                name,
                description,
                default,
            }),
            Requirement::Clock { why } => Self::Clock(wit::PlainRequirement { why }),
            Requirement::Random { why } => Self::Random(wit::PlainRequirement { why }),
        }
    }
}

impl From<&wit::OriginScope> for Origin {
    fn from(said: &wit::OriginScope) -> Self {
        match said {
            wit::OriginScope::Literal(origin) => Self::Literal(origin.clone()),
            wit::OriginScope::Setting(name) => Self::Setting(name.clone()),
            wit::OriginScope::AnyPublic => Self::AnyPublic,
        }
    }
}

impl From<Origin> for wit::OriginScope {
    fn from(kept: Origin) -> Self {
        match kept {
            Origin::Literal(origin) => Self::Literal(origin),
            Origin::Setting(name) => Self::Setting(name),
            Origin::AnyPublic => Self::AnyPublic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_said() {
        let tool = |name: &str, hints| wit::Tool {
            name: name.into(),
            title: (name == "b").then(|| "Title".into()),
            description: "d\u{202e}".into(),
            input_schema: r#"{"type": "object"}"#.into(),
            output_schema: (name == "a").then(|| "true".into()),
            hints,
            uses: vec!["api".into()],
        };
        let plugin = wit::Description {
            version: "1".into(),
            summary: "s".into(),
            tools: vec![
                tool("a", wit::Hints::READ_ONLY | wit::Hints::OPEN_WORLD),
                tool("b", wit::Hints::DESTRUCTIVE | wit::Hints::IDEMPOTENT),
            ],
            requirements: vec![
                wit::Requirement::Http(wit::HttpRequirement {
                    name: "api".into(),
                    origin: wit::OriginScope::Setting("origin".into()),
                    methods: vec!["GET".into()],
                    paths: vec!["/".into()],
                    why: "w".into(),
                }),
                wit::Requirement::Secret(wit::SecretRequirement {
                    name: "token".into(),
                    use_: wit::SecretUse::Reveal,
                    origin: wit::OriginScope::Literal("https://a.example".into()),
                    why: "w".into(),
                }),
                wit::Requirement::Setting(wit::SettingRequirement {
                    name: "origin".into(),
                    description: "d".into(),
                    default: None,
                }),
                wit::Requirement::Clock(wit::PlainRequirement { why: "c".into() }),
                wit::Requirement::Random(wit::PlainRequirement { why: "r".into() }),
            ],
        };
        let resource = |name: &str, at| resources::Offer {
            name: name.into(),
            title: None,
            description: "d".into(),
            at,
            mime_type: Some("text/plain".into()),
            size: Some(7),
            uses: Vec::new(),
        };
        let said = Said {
            plugin,
            prompts: vec![prompts::Prompt {
                name: "p".into(),
                title: Some("P".into()),
                description: "d".into(),
                arguments: vec![prompts::Argument {
                    name: "a".into(),
                    title: None,
                    description: Some("d".into()),
                    required: true,
                }],
                uses: vec!["api".into()],
            }],
            resources: vec![
                resource("r", resources::Place::Uri("x://r".into())),
                resource("s", resources::Place::Template("x://{s}".into())),
            ],
            questions: vec![questions::Asking {
                of: "a".into(),
                kinds: questions::Kinds::FORM | questions::Kinds::ROOTS,
                why: "w".into(),
            }],
            jobs: vec![jobs::Lasting {
                of: "a".into(),
                how: jobs::How::ASKS_FIRST,
            }],
        };
        let kept = write(&said).unwrap();
        let back = read(&kept).expect("its own form");
        assert_eq!(format!("{back:?}"), format!("{said:?}"));
        assert!(read(b"{}").is_none());
    }
}
