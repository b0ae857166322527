//! The words that policies use: action groups, and what the host says about each question.
//!
//! Schema, contexts and lint all read these tables, so that a key is defined once.

use crate::plugin::Kind;

/// The group of the actions of tools' calls.
pub(super) const CALL: &str = "call";

/// The groups of the call question's actions, by what is called.
pub(super) const CALLS: [&str; 4] = [CALL, "get-prompt", "read-resource", "complete"];

/// The group of the actions of calls of this kind.
pub(super) const fn group_of(kind: Kind) -> &'static str {
    let [tool, prompt, resource, completion] = CALLS;
    match kind {
        Kind::Tool => tool,
        Kind::Prompt => prompt,
        Kind::Resource => resource,
        Kind::Completion => completion,
    }
}

/// The entity type of what is called.
pub(super) const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "Tool",
        Kind::Prompt => "Prompt",
        Kind::Resource => "Resource",
        Kind::Completion => "Plugin",
    }
}

/// What is called, as a question names it.
pub(super) const fn called(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Tool => ("tool", ""),
        Kind::Prompt => ("prompt", ""),
        Kind::Resource => ("resource", ""),
        Kind::Completion => ("plugin", ""),
    }
}

/// The group of the actions of people who answer what is held.
pub(super) const APPROVE: &str = "approve";

/// A kind of host call that policy is asked about; the group of its actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostAction {
    /// An HTTP request.
    Http,
    /// A secret put into a request by the host.
    UseSecret,
    /// A secret's value handed to the plugin.
    RevealSecret,
    /// Reading the time of day.
    Clock,
    /// Reading random bytes.
    Random,
    /// Connecting to an address that is not public.
    Connect,
    /// Asking the client something.
    Ask,
}

impl HostAction {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Http,
        Self::UseSecret,
        Self::RevealSecret,
        Self::Clock,
        Self::Random,
        Self::Connect,
        Self::Ask,
    ];

    /// Its action group, and what stands before the `:` in its actions.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::UseSecret => "use-secret",
            Self::RevealSecret => "reveal-secret",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Connect => "connect",
            Self::Ask => "ask",
        }
    }

    /// Whether one that is held waits for a person (`capability/park.rs`). A person reads a request
    /// whole; what one would read of the others says too little to agree to.
    pub(super) const fn waits(self) -> bool {
        matches!(self, Self::Http)
    }

    /// The entity type of the resource.
    pub(super) const fn resource(self) -> &'static str {
        match self {
            Self::Http | Self::Connect => "Origin",
            Self::UseSecret | Self::RevealSecret => "Secret",
            Self::Clock | Self::Random | Self::Ask => "Plugin",
        }
    }

    /// What the capability says about the question, beyond what the host says about every one.
    pub(super) const fn keys(self) -> &'static [Key] {
        match self {
            Self::Http => HTTP,
            Self::UseSecret | Self::RevealSecret => SECRET,
            Self::Clock | Self::Random => &[],
            Self::Connect => CONNECT,
            Self::Ask => ASK,
        }
    }
}

/// The types of context keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Whole,
    Truth,
    Texts,
    Time,
    Address,
    User,
    Agents,
    Users,
    Agent,
    /// A record: `id`, `intent`, `labels`, `calls`, `host_calls`.
    Task,
}

/// One key of a context.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Type,
    pub(super) required: bool,
}

const fn key(name: &'static str, kind: Type) -> Key {
    Key {
        name,
        kind,
        required: true,
    }
}

/// What the host says about every question, beside `args`.
pub(super) const COMMON: &[Key] = &[
    key("approved", Type::Truth),
    key("chain", Type::Agents),
    key("approvers", Type::Users),
    key("tier", Type::Text),
    key("time", Type::Time),
    key("round", Type::Whole),
    key("answers", Type::Texts),
    Key {
        name: "user",
        kind: Type::User,
        required: false,
    },
    Key {
        name: "task",
        kind: Type::Task,
        required: false,
    },
];

/// What it says about a call.
pub(super) const CALL_KEYS: &[Key] = &[
    key("plugin_digest", Type::Text),
    key("transport", Type::Text),
    key("attempt", Type::Whole),
];

/// What it says about a person's answer, beside what it says of the call.
pub(super) const APPROVE_KEYS: &[Key] = &[
    key("agent", Type::Agent),
    key("arguments", Type::Text),
    key("host_call", Type::Truth),
    key("standing", Type::Truth),
];

/// What the host says of a task.
pub(super) const TASK: &[Key] = &[
    key("id", Type::Text),
    key("intent", Type::Text),
    key("labels", Type::Texts),
    key("calls", Type::Whole),
    key("host_calls", Type::Whole),
];

const HTTP: &[Key] = &[
    key("method", Type::Text),
    key("path", Type::Text),
    key("scheme", Type::Text),
    key("host", Type::Text),
    key("port", Type::Whole),
    key("requirement", Type::Text),
    key("query", Type::Truth),
    key("body_bytes", Type::Whole),
    key("secrets", Type::Texts),
    key("http_calls", Type::Whole),
];

const SECRET: &[Key] = &[key("origin", Type::Text), key("scheme", Type::Text)];

const ASK: &[Key] = &[key("kind", Type::Text), key("host", Type::Text)];

const CONNECT: &[Key] = &[
    key("address", Type::Address),
    key("port", Type::Whole),
    key("host", Type::Text),
];
