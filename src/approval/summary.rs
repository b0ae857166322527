//! What an approver reads: written by the host, whole, and showing exactly what it is.
//!
//! A model that wants a yes would write the question itself. So nothing that an agent or a plugin
//! wrote stands here but as data behind a label of the host's: on one line, with every letter that
//! could break a line, move a cursor, turn the direction of writing or hide written as an escape.
//! Nothing is left out without its size and digest beside it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::binding::Subject;
use crate::digest::Digest;
use crate::identity::AgentId;
use crate::json;
use crate::policy::{PolicyRef, RoundFacts};

/// Bytes of a request's body that are shown; beyond, its size and digest stand for it.
const BODY: usize = 64 << 10;
/// Bytes of arguments that are kept once nobody can agree to them any more.
const ENDED: usize = 4 << 10;
/// Stands at the end of what was cut. Canonical arguments end with their brace.
const CUT: char = '\u{2026}';

/// What exactly would happen, and who asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// The agent that asks.
    pub agent: AgentId,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The agents that handed the work on, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<AgentId>,
    /// What would be done, in the host's words: `call github.comment`, `POST https://…`.
    pub effect: String,
    /// The tool's tier.
    pub tier: String,
    /// The call's canonical arguments, escaped: still the same JSON. In full while a person can answer.
    pub arguments: String,
    /// Their digest, which is what the approval is bound to.
    pub arguments_digest: Digest,
    /// Bytes of the canonical text.
    pub arguments_bytes: u64,
    /// What the client answered the plugin, where the call is not in its first round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputView>,
    /// The body of the request, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyView>,
    /// The policies that ask for a person.
    pub policies: Vec<PolicyRef>,
}

/// What a round after the first brings: data that the plugin acts on, like the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputView {
    /// Which round: 2 for the first that brings answers.
    pub round: u32,
    /// The canonical answers, by the questions' keys, escaped as arguments are. In full while a person can
    /// answer.
    pub answers: String,
    /// Their digest, which is what the approval is bound to.
    pub answers_digest: Digest,
    /// Bytes of the canonical text.
    pub answers_bytes: u64,
    /// Digest of what the plugin gets back of its own, which no client could read or change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<Digest>,
}

impl InputView {
    pub(crate) fn of(round: &RoundFacts) -> Self {
        let answers = json::canonical(&Value::Object(round.answers.clone()));
        Self {
            round: round.bound.number,
            answers: escape_json(&answers),
            answers_digest: round.bound.answers,
            answers_bytes: answers.len() as u64,
            state_digest: round.bound.state,
        }
    }

    /// Whether `answers` are all of them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.answers.ends_with(CUT)
    }
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyView {
    /// The body, escaped; bytes that are no text as `\x..`.
    pub text: String,
    /// Whether `text` is all of it.
    pub whole: bool,
    /// Bytes of the body.
    pub bytes: u64,
    /// Its digest, which is what the approval is bound to.
    pub digest: Digest,
}

impl BodyView {
    pub(crate) fn of(body: &[u8], digest: Digest) -> Option<Self> {
        if body.is_empty() {
            return None;
        }
        let shown = body.get(..BODY).unwrap_or(body);
        Some(Self {
            text: escape_bytes(shown),
            whole: shown.len() == body.len(),
            bytes: body.len() as u64,
            digest,
        })
    }
}

impl Summary {
    /// Whether `arguments` are all of them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.arguments.ends_with(CUT)
    }

    /// The same for one that ended: long arguments are cut, their digest stays.
    pub(super) fn abridged(&self) -> Self {
        let mut summary = self.clone();
        let cut = |text: &mut String| {
            if text.len() > ENDED {
                text.truncate(text.floor_char_boundary(ENDED));
                text.push(CUT);
            }
        };
        cut(&mut summary.arguments);
        if let Some(input) = &mut summary.input {
            cut(&mut input.answers);
        }
        if let Some(body) = &mut summary.body {
            body.whole &= body.text.len() <= ENDED;
            cut(&mut body.text);
        }
        summary
    }
}

/// The host's words for what would be done.
pub(super) fn effect(tool: &crate::name::ToolName, subject: &Subject) -> String {
    match subject {
        Subject::Call {} => format!("call {tool}"),
        Subject::HostCall {
            method,
            url,
            secret,
            ..
        } => {
            let request = format!("{} {}", escape(method), escape(url));
            match secret {
                Some(name) => format!("send the secret `{}` with {request}", escape(name)),
                None => request,
            }
        }
    }
}

impl fmt::Display for Summary {
    /// As people read it in a terminal: one label of the host's on each line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "effect     {}", escape(&self.effect))?;
        writeln!(f, "agent      {}", escape(self.agent.as_str()))?;
        if let Some(user) = &self.user {
            writeln!(f, "for        {}", escape(user))?;
        }
        if !self.chain.is_empty() {
            let chain: Vec<_> = self.chain.iter().map(|a| escape(a.as_str())).collect();
            writeln!(f, "handed on  by {}", chain.join(", then "))?;
        }
        writeln!(f, "tier       {}", escape(&self.tier))?;
        for policy in &self.policies {
            let (id, file) = (escape(&policy.id), escape(&policy.file));
            writeln!(f, "asked by   `{id}` (policies/{file}:{})", policy.line)?;
        }
        if self.policies.is_empty() {
            writeln!(f, "asked by   the tool's tier")?;
        }
        let whole = |is: bool| if is { "" } else { ", not shown whole" };
        writeln!(
            f,
            "arguments  {} bytes, {}{}",
            self.arguments_bytes,
            self.arguments_digest,
            whole(self.is_whole())
        )?;
        writeln!(f, "           {}", escape(&self.arguments))?;
        if let Some(input) = &self.input {
            writeln!(
                f,
                "answers    round {}, {} bytes, {}{}",
                input.round,
                input.answers_bytes,
                input.answers_digest,
                whole(input.is_whole())
            )?;
            writeln!(f, "           {}", escape(&input.answers))?;
            if let Some(state) = input.state_digest {
                writeln!(f, "state      the plugin's own, {state}")?;
            }
        }
        if let Some(body) = &self.body {
            let whole = whole(body.whole);
            writeln!(f, "body       {} bytes, {}{whole}", body.bytes, body.digest)?;
            writeln!(f, "           {}", escape(&body.text))?;
        }
        Ok(())
    }
}

/// Canonical JSON with each letter that shows otherwise than it reads as `\u....`: the same JSON,
/// since such letters stand in strings only.
pub(super) fn escape_json(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if misleads(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Any text on one line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if misleads(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

fn escape_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // So that an escape in the body is not taken for one of ours.
                '\\' => out.push_str("\\\\"),
                c if misleads(c) => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Whether a letter moves, turns, breaks or hides text where it is shown: controls, separators and
/// every space but one, directions, letters without a shape, tags, variation selectors, private ones.
const fn misleads(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}'
        | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{ffff}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Arguments, Limits};

    fn summary(arguments: &str) -> Summary {
        let arguments = Arguments::parse(arguments.as_bytes(), &Limits::default()).unwrap();
        Summary {
            agent: AgentId::local("a").unwrap(),
            user: None,
            chain: Vec::new(),
            effect: effect(&"p.t".parse().unwrap(), &Subject::Call {}),
            tier: "hold".to_owned(),
            arguments: escape_json(arguments.canonical()),
            arguments_digest: arguments.digest(),
            arguments_bytes: arguments.canonical().len() as u64,
            input: None,
            body: None,
            policies: Vec::new(),
        }
    }

    /// The same in a second round, with these answers.
    fn answered(answers: &Value) -> Summary {
        let round = crate::call::Round {
            number: 2,
            answers: vec![("said".to_owned(), answers.clone())],
            state: Some(b"own".to_vec()),
            ..crate::call::Round::default()
        };
        Summary {
            input: Some(InputView::of(&round.facts())),
            ..summary("{}")
        }
    }

    #[test]
    fn answers_are_shown_whole_and_write_no_line_of_their_own() {
        let evil = serde_json::json!({"content": {"to": "bob\neffect     call safe.tool\u{1b}[2K\u{202e}"}});
        let text = answered(&evil).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.iter().filter(|l| l.starts_with("effect")).count(), 1);
        assert!(!text.replace('\n', "").chars().any(misleads), "{text:?}");
        assert!(text.contains("answers    round 2, "), "{text}");
        assert!(text.contains("state      the plugin's own, "), "{text}");
        let long = serde_json::json!({"text": "x".repeat(100_000), "z": "the tail"});
        assert!(answered(&long).to_string().contains("the tail"));
        let ended = answered(&long).abridged().input.unwrap();
        assert!(ended.answers.len() < 5_000 && !ended.is_whole());
        assert_eq!(ended.answers_bytes, 100_000 + 26 + 9);
    }

    #[test]
    fn nothing_in_the_arguments_writes_a_line_of_its_own() {
        let evil = serde_json::json!({"to": "bob\neffect     call safe.tool\u{1b}[2K\u{202e}evil\u{2028}\u{200b}\u{e0041}"});
        let text = summary(&evil.to_string()).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.iter().filter(|l| l.starts_with("effect")).count(), 1);
        assert!(!text.replace('\n', "").chars().any(misleads), "{text:?}");
        assert!(text.contains("\\u202e"), "{text}");
    }

    #[test]
    fn long_arguments_are_shown_to_their_end() {
        let long = serde_json::json!({"text": "x".repeat(100_000), "z": "the tail"});
        assert!(summary(&long.to_string()).to_string().contains("the tail"));
        let ended = summary(&long.to_string()).abridged();
        assert!(ended.arguments.len() < 5_000);
        assert_eq!(ended.arguments_bytes, 100_000 + 26);
        assert!(!ended.is_whole() && ended.to_string().contains("not shown whole"));
        // Escaped, these are longer than what is kept; what is kept is longer than they were.
        let odd = serde_json::json!({"text": "\u{202e}".repeat(1_000)});
        assert!(summary(&odd.to_string()).is_whole());
        assert!(!summary(&odd.to_string()).abridged().is_whole());
        assert!(summary("{}").abridged().is_whole());
    }

    #[test]
    fn a_body_is_shown_as_it_is() {
        let digest = Digest::of(b"");
        let body = BodyView::of(b"a\n\\n\xff\x1b", digest).unwrap();
        assert_eq!(body.text, "a\\n\\\\n\\xff\\u{1b}");
        assert!(body.whole);
        let long = vec![b'a'; BODY + 1];
        assert!(!BodyView::of(&long, digest).unwrap().whole);
    }

    proptest! {
        #[test]
        fn escaped_arguments_are_the_same_arguments(text in any::<String>()) {
            let arguments = serde_json::json!({ "a": text }).to_string();
            let arguments = Arguments::parse(arguments.as_bytes(), &Limits::default()).unwrap();
            let shown = escape_json(arguments.canonical());
            prop_assert!(!shown.chars().any(misleads));
            let again = Arguments::parse(shown.as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(again.digest(), arguments.digest());
        }
    }
}
