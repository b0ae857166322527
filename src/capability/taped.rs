//! Host calls and tapes: each function of the contract, and each of the inert floor that is not the
//! same every time, is put on the call's tape where it has one, and answered by a tape in a replay.
//!
//! Such a function has three parts, and the middle one is all there is where no tape runs:
//!
//! ```text
//! if let Some(answer) = state.asks(function, |fields| ..)? { return Ok(answer) }    a replay ends here
//! let answer = ..;                                                                  what the host does
//! state.answers(answer)                                                             onto the tape
//! ```

use wasmtime::component::ResourceTable;

use super::http::Origin;
use super::secrets::Secret;
use crate::digest::Digest;
use crate::egress;
use crate::runtime::bindings::clock::Datetime;
use crate::runtime::bindings::http::{Credential, Request, Response, Scheme, Signing};
use crate::runtime::bindings::types;
use crate::runtime::{Answer, Answered, CallState, Ending, classify};
use crate::tape::{Asked, Fields, Function, Reader, Taped, Writer};

impl CallState {
    /// A host call begins. In a replay the tape has its answer.
    ///
    /// # Errors
    ///
    /// The instance ends here: it did so on the tape, or it left the tape.
    pub(crate) fn asks<T: Taped>(
        &mut self,
        function: Function,
        fields: impl FnOnce(&mut Fields, &ResourceTable),
    ) -> wasmtime::Result<Option<T>> {
        // The one branch that a call without a tape pays for.
        if !self.has_tape() {
            return Ok(None);
        }
        let mut said = Fields::default();
        fields(&mut said, self.handles());
        let asked = Asked {
            function,
            fields: said,
        };
        if let Some(player) = self.player() {
            let answer = player.answer(asked).map_err(Ending::from)?;
            return Ok(Some(answer));
        }
        if let Some(recorder) = self.recorder() {
            recorder.asks(&asked);
        }
        Ok(None)
    }

    /// The host call ended with `answer`.
    ///
    /// # Errors
    ///
    /// That of `answer`.
    pub(crate) fn answers<T: Taped>(&mut self, answer: wasmtime::Result<T>) -> wasmtime::Result<T> {
        self.answered(answer.as_ref());
        answer
    }

    /// The host call ended with this answer.
    pub(crate) fn answered<T: Taped>(&mut self, answer: Result<&T, &wasmtime::Error>) {
        if let Some(recorder) = self.recorder() {
            match answer {
                Ok(answer) => recorder.answers(answer),
                Err(error) => recorder.ends(&classify(error)),
            }
        }
    }

    /// The plugin is shown what must not be on a tape.
    pub(crate) fn keeps_no_tape(&mut self, why: &str) {
        if let Some(recorder) = self.recorder() {
            recorder.give_up(why);
        }
    }
}

/// What is asked with a request: all of it, the names of secrets in the place of handles.
pub(super) fn request(
    fields: &mut Fields,
    table: &ResourceTable,
    requirement: &str,
    request: &Request,
    credentials: &[Credential],
) {
    fields.text("requirement", requirement);
    fields.text("method", &request.method);
    fields.text("url", &request.url);
    for (name, value) in &request.headers {
        fields.text(format!("header {name}"), value);
    }
    match &request.body {
        Some(body) => fields.bytes("body", body),
        None => fields.text("body", "none"),
    }
    for credential in credentials {
        let secret = table
            .get(&credential.secret)
            .map_or("?", |secret: &Secret| secret.name.as_str());
        let said = match &credential.scheme {
            Scheme::Bearer => "bearer".to_owned(),
            Scheme::Basic(user) => format!("basic {user}"),
            Scheme::Header(name) => format!("header {name}"),
            Scheme::Query(name) => format!("query {name}"),
            Scheme::Sign(Signing::AwsSigv4(scope)) => {
                format!("sign aws-sigv4 {}/{}", scope.region, scope.service)
            }
        };
        fields.text(format!("credential {secret}"), &said);
    }
}

impl Taped for types::Error {
    fn write(&self, to: &mut Writer) {
        to.byte(match self.kind {
            types::ErrorKind::Refused => 0,
            types::ErrorKind::ApprovalRequired => 1,
            types::ErrorKind::Limit => 2,
            types::ErrorKind::Failed => 3,
        });
        to.text(&self.reason);
        to.text(&self.message);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let kind = match from.byte()? {
            0 => types::ErrorKind::Refused,
            1 => types::ErrorKind::ApprovalRequired,
            2 => types::ErrorKind::Limit,
            3 => types::ErrorKind::Failed,
            _ => return None,
        };
        Some(Self {
            kind,
            reason: Taped::read(from)?,
            message: Taped::read(from)?,
        })
    }
}

impl Taped for Datetime {
    fn write(&self, to: &mut Writer) {
        to.number(self.seconds);
        self.nanoseconds.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            seconds: from.number()?,
            nanoseconds: Taped::read(from)?,
        })
    }
}

impl Taped for Response {
    fn write(&self, to: &mut Writer) {
        self.status.write(to);
        self.headers.write(to);
        self.body.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            status: Taped::read(from)?,
            headers: Taped::read(from)?,
            body: Taped::read(from)?,
        })
    }
}

impl Taped for Origin {
    fn write(&self, to: &mut Writer) {
        to.text(&self.requirement);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            requirement: Taped::read(from)?,
        })
    }
}

impl Taped for Secret {
    fn write(&self, to: &mut Writer) {
        to.text(&self.name);
        to.text(&self.origin.to_string());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            name: Taped::read(from)?,
            origin: egress::Origin::parse(from.text()?).ok()?,
        })
    }
}

/// Digest of what a plugin gave: each member of it, in the order of the contract.
pub(crate) fn digest(answer: &Answer) -> Digest {
    let mut to = Writer::default();
    match answer {
        Ok(Answered::Tool(said)) => {
            to.byte(0);
            to.number(said.content.len() as u64);
            for block in &said.content {
                content(block, &mut to);
            }
            said.structured.write(&mut to);
            said.is_error.write(&mut to);
            said.meta.write(&mut to);
        }
        // Only tools are taped; the others are told apart all the same.
        Ok(Answered::Prompt(said)) => {
            to.byte(5);
            said.description.write(&mut to);
            to.number(said.messages.len() as u64);
            for message in &said.messages {
                to.byte(match message.role {
                    types::Role::User => 0,
                    types::Role::Assistant => 1,
                });
                content(&message.content, &mut to);
            }
        }
        Ok(Answered::Resource(said)) => {
            to.byte(6);
            to.number(said.len() as u64);
            for part in said {
                content(&types::Content::Resource(part.clone()), &mut to);
            }
        }
        Ok(Answered::Values(said)) => {
            to.byte(7);
            to.number(said.values.len() as u64);
            for value in &said.values {
                to.text(value);
            }
            said.total.write(&mut to);
            said.more.write(&mut to);
        }
        Ok(Answered::Asks(asked)) => {
            to.byte(1);
            to.number(asked.questions.len() as u64);
            for question in &asked.questions {
                to.text(&question.key);
                self::question(&question.kind, &mut to);
            }
            asked.state.write(&mut to);
        }
        Err(types::CallError::UnknownTool) => to.byte(2),
        Err(types::CallError::InvalidArguments(message)) => {
            to.byte(3);
            to.text(message);
        }
        Err(types::CallError::Failed(message)) => {
            to.byte(4);
            to.text(message);
        }
    }
    Digest::of(to.as_bytes())
}

fn question(kind: &types::QuestionKind, to: &mut Writer) {
    match kind {
        types::QuestionKind::Form(form) => {
            to.byte(0);
            to.text(&form.message);
            to.text(&form.schema);
        }
        types::QuestionKind::Url(url) => {
            to.byte(1);
            to.text(&url.message);
            to.text(&url.url);
        }
        types::QuestionKind::Sampling(parameters) => {
            to.byte(2);
            to.text(parameters);
        }
        types::QuestionKind::Roots => to.byte(3),
    }
}

fn content(block: &types::Content, to: &mut Writer) {
    match block {
        types::Content::Text(text) => {
            to.byte(0);
            to.text(&text.text);
            annotations(text.annotations.as_ref(), to);
        }
        types::Content::Image(media) | types::Content::Audio(media) => {
            to.byte(match block {
                types::Content::Image(_) => 1,
                _ => 2,
            });
            to.bytes(&media.data);
            to.text(&media.mime_type);
            annotations(media.annotations.as_ref(), to);
        }
        types::Content::Resource(resource) => {
            to.byte(3);
            to.text(&resource.uri);
            resource.mime_type.write(to);
            match &resource.body {
                types::ResourceBody::Text(text) => {
                    to.byte(0);
                    to.text(text);
                }
                types::ResourceBody::Blob(bytes) => {
                    to.byte(1);
                    to.bytes(bytes);
                }
            }
            annotations(resource.annotations.as_ref(), to);
        }
        types::Content::Link(link) => {
            to.byte(4);
            to.text(&link.uri);
            to.text(&link.name);
            link.title.write(to);
            link.description.write(to);
            link.mime_type.write(to);
            link.size.write(to);
            annotations(link.annotations.as_ref(), to);
        }
    }
}

fn annotations(said: Option<&types::Annotations>, to: &mut Writer) {
    said.is_some().write(to);
    let Some(said) = said else { return };
    to.number(said.audience.len() as u64);
    for role in &said.audience {
        to.byte(match role {
            types::Role::User => 0,
            types::Role::Assistant => 1,
        });
    }
    said.priority.map(f64::to_bits).write(to);
    said.last_modified.write(to);
}
