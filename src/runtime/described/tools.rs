//! What a component said of its tools and of what they require.

use serde::{Deserialize, Serialize};

use super::{flags, set};
use crate::runtime::bindings::tools as wit;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tool {
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
pub(super) enum Requirement {
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
pub(super) enum Origin {
    Literal(String),
    Setting(String),
    AnyPublic,
}

impl From<&wit::Tool> for Tool {
    fn from(said: &wit::Tool) -> Self {
        Self {
            name: said.name.clone(),
            title: said.title.clone(),
            description: said.description.clone(),
            input_schema: said.input_schema.clone(),
            output_schema: said.output_schema.clone(),
            hints: set(&HINTS, |flag| said.hints.contains(*flag)),
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
            hints: flags(&HINTS, &kept.hints),
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
