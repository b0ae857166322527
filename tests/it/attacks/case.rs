//! The rows of the catalogue and their cases, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A row of `tests/attacks.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) id: String,
    #[serde(rename = "attack")]
    _attack: String,
    #[serde(rename = "vector")]
    _vector: String,
    #[serde(rename = "expected")]
    _expected: String,
    #[serde(rename = "refs")]
    _refs: String,
    #[serde(rename = "source")]
    _source: String,
    /// The part that is not built yet.
    pub(super) waits_for: Option<String>,
    /// Why a row of a part that is built waits all the same.
    pub(super) because: Option<String>,
    #[serde(default)]
    pub(super) cases: Vec<Case>,
    /// The test that stands for it.
    pub(super) claimed_by: Option<String>,
}

impl Row {
    /// The part of the catalogue: the first letter of the id.
    pub(super) fn part(&self) -> char {
        self.id.chars().next().unwrap()
    }
}

/// A call, or a component that is dropped into `plugins/`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Case {
    /// `probe` (the default), `fetch` or `no-policies`.
    pub(super) setup: Option<String>,
    /// The probe's policy, in the place of one that permits all but reading secrets.
    pub(super) policy: Option<String>,
    /// `tollgate.toml`, in the place of the usual one.
    pub(super) toml: Option<String>,
    /// What names answer, in turn. The others all have one public address.
    pub(super) resolver: BTreeMap<String, Vec<Vec<String>>>,
    /// The task that its agent is on: of these tools, within these budgets.
    pub(super) task: Option<OnTask>,
    /// Calls to make before.
    pub(super) before: Vec<Before>,
    pub(super) tool: String,
    pub(super) arguments: Option<Value>,
    /// The arguments' text, where that is the point.
    pub(super) text: Option<String>,
    /// The arguments' bytes, where they are no text.
    pub(super) hex: Option<String>,
    pub(super) generate: Option<Generate>,
    /// A component to drop: `crafted:<name>`, `misfit:<name>`, `wat:<text>`, `hex:<bytes>`,
    /// `size:<bytes>` or `pathological`.
    pub(super) load: Option<String>,
    /// Texts of it that are written over, by others of the same length.
    pub(super) patch: Vec<(String, String)>,
    /// The signature that it comes with.
    pub(super) signed: Option<Signature>,
    /// The plugin's name; that of the case's agent where there is none.
    pub(super) plugin: Option<String>,
    /// What was accepted under that name before.
    pub(super) accepted: Option<Dropped>,
    /// Other plugins that were accepted before, by name.
    pub(super) beside: BTreeMap<String, Dropped>,
    /// A call of the component that was dropped.
    pub(super) then: Option<Before>,
    /// The address that the record says was dialled.
    pub(super) address: Option<String>,
    /// Headers of the response, as the plugin got them.
    pub(super) header: BTreeMap<String, String>,
    /// The name that TLS was for.
    pub(super) name: Option<String>,
    /// The first line of the request, as upstream got it.
    pub(super) line: Option<String>,
    /// Its `host` header.
    pub(super) host: Option<String>,
    /// Whether all that upstream got is to be one request.
    pub(super) one_request: bool,
    /// The most bytes of the response's body that the plugin may have got.
    pub(super) max_body: Option<usize>,
    /// The most that a number of the structured content may be.
    pub(super) max: BTreeMap<String, u64>,
    pub(super) expect: Expect,
}

impl Case {
    /// Whether it needs this setup.
    pub(super) fn is_of(&self, setup: &str) -> bool {
        self.setup.as_deref() == Some(setup)
    }
}

/// A component that is dropped, with what goes with it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dropped {
    /// As `load` of a case.
    pub(super) load: String,
    pub(super) patch: Vec<(String, String)>,
    pub(super) signed: Option<Signature>,
}

/// A signature: by which key, and what for. By default it is for what it comes with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Signature {
    /// `acme` and `retired` can be in the configuration, `stranger` is not.
    pub(super) by: String,
    pub(super) version: u64,
    /// Another name that it is for.
    pub(super) plugin: Option<String>,
    /// Another component that it is for.
    pub(super) component: Option<String>,
    /// Its text, where it is none.
    pub(super) text: Option<String>,
}

/// A task that is started for a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnTask {
    /// As `tollgate task start` takes them.
    pub(super) tools: Vec<String>,
    #[serde(default)]
    pub(super) budgets: tollgate::task::Budgets,
}

/// A further call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    pub(super) tool: String,
    pub(super) arguments: Value,
    pub(super) reason: Option<String>,
}

/// Arguments that are too long to be written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Generate {
    /// Nested so deep.
    Deep(usize),
    /// So many keys.
    Keys(usize),
    /// A text of so many bytes.
    Bytes(usize),
}

impl Generate {
    /// The text of the arguments, for `probe_echo`.
    pub(super) fn text(&self) -> String {
        match *self {
            Self::Deep(depth) => {
                format!("{{\"value\":{}1{}}}", "[".repeat(depth), "]".repeat(depth))
            }
            Self::Keys(keys) => {
                let members: Vec<String> = (0..keys).map(|key| format!("\"k{key}\":0")).collect();
                format!("{{\"value\":{{{}}}}}", members.join(","))
            }
            Self::Bytes(bytes) => format!("{{\"text\":\"{}\"}}", "a".repeat(bytes)),
        }
    }
}

/// What must come of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// The reason, in the reply and in exactly one record. None where the call goes well.
    pub(super) reason: Option<String>,
    /// The reason of the call as a whole, where the plugin says that it failed.
    pub(super) call_reason: Option<String>,
    /// Requests that reached upstream.
    pub(super) ledger: Option<usize>,
    pub(super) lookups: Option<usize>,
    pub(super) dials: Option<usize>,
    /// Status of the response, as the plugin got it.
    pub(super) status: Option<u64>,
    /// Members that the structured content has.
    pub(super) structured: Option<Value>,
    /// What the operator can read in the record.
    pub(super) detail: Vec<String>,
    /// Refusals in the outcome, with their exact numbers.
    pub(super) refused: BTreeMap<String, u64>,
    /// The text that the plugin got for its arguments.
    pub(super) raw: Option<String>,
    /// What the record about a component says.
    pub(super) says: Vec<String>,
    /// Whether the component serves.
    pub(super) serves: bool,
    /// Whether it waits for the operator: the reason is then that of its quarantine.
    pub(super) waits: bool,
    /// Changes that are shown, as `<what> <name> <part>`.
    pub(super) changes: Vec<String>,
    /// What is shown that it could reach, of what it could not before.
    pub(super) reach: Vec<String>,
    /// Texts that neither the agent nor the records get.
    pub(super) absent: Vec<String>,
    /// Texts that stand in no record.
    pub(super) unrecorded: Vec<String>,
    /// Whether the record says that the result was redacted.
    pub(super) redacted: bool,
}

/// All rows.
pub(super) fn rows() -> Vec<Row> {
    let text =
        std::fs::read_to_string(crate::harness::repository().join("tests/attacks.jsonl")).unwrap();
    text.lines()
        .enumerate()
        .map(|(at, line)| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("line {}: {error}", at + 1))
        })
        .collect()
}
