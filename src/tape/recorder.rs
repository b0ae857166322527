//! What a call under way writes on its tape.

use super::form::{Taped, Writer};
use super::step::{Asked, Given};
use super::whole::{End, Head};
use crate::digest::Digest;
use crate::journal::record::CallId;
use crate::reason::Refusal;

/// The tape of a call under way. It holds at most so many bytes; a call that is worth more has none.
#[derive(Debug)]
pub(crate) struct Recorder {
    call: CallId,
    text: Writer,
    most: usize,
    /// A host call has begun and not ended.
    open: bool,
    /// Why there will be no tape.
    given_up: Option<String>,
}

impl Recorder {
    /// A tape of at most `most` bytes, that begins with `head`.
    pub(crate) fn new(head: &Head, most: usize) -> Self {
        let mut text = Writer::default();
        head.write(&mut text);
        let mut recorder = Self {
            call: head.call,
            text,
            most,
            open: false,
            given_up: None,
        };
        recorder.bound();
        recorder
    }

    /// The call.
    pub(crate) const fn call(&self) -> CallId {
        self.call
    }

    /// A host call begins. It is written at once: where the call is stopped while it waits, it stands
    /// there without an answer.
    pub(crate) fn asks(&mut self, asked: &Asked) {
        if self.given_up.is_none() {
            self.text.byte(1);
            asked.write(&mut self.text);
            self.open = true;
            self.bound();
        }
    }

    /// The host call ended with an answer.
    pub(crate) fn answers(&mut self, answer: &impl Taped) {
        if self.given_up.is_none() {
            let mut bytes = Writer::default();
            answer.write(&mut bytes);
            self.gives(&Given::Answer(bytes.into_bytes()));
        }
    }

    /// The host call ended the instance.
    pub(crate) fn ends(&mut self, refusal: &Refusal) {
        if self.given_up.is_none() {
            self.gives(&Given::End(refusal.clone()));
        }
    }

    fn gives(&mut self, given: &Given) {
        given.write(&mut self.text);
        self.open = false;
        self.bound();
    }

    /// There will be no tape of this call, and why. What stood on it is gone.
    pub(crate) fn give_up(&mut self, why: impl Into<String>) {
        self.given_up.get_or_insert(why.into());
        self.text.clear();
    }

    fn bound(&mut self) {
        if self.text.len() > self.most {
            self.give_up(format!("it has more than {} bytes", self.most));
        }
    }

    /// The instance ended.
    pub(crate) fn end(&mut self, fuel: u64, answer: Result<Digest, &Refusal>) {
        if self.given_up.is_some() {
            return;
        }
        if self.open {
            self.gives(&Given::Nothing);
        }
        self.text.byte(0);
        let end = End {
            fuel,
            answer: answer.map_err(Refusal::clone),
        };
        end.write(&mut self.text);
        self.bound();
    }

    /// The text of the tape, or why there is none.
    pub(crate) fn finish(self) -> Result<Vec<u8>, String> {
        match self.given_up {
            Some(why) => Err(why),
            None => Ok(self.text.into_bytes()),
        }
    }
}
