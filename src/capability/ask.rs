//! Questions to the client, as host calls: each is decided by policy and written down before it goes out.

use super::context::CallContext;
use crate::call::{Ask, Questions};
use crate::journal::record::{Event, HostCall, HostCallOutcome};
use crate::plugin::QuestionKind;
use crate::policy::{Checked, Fact, HostAction, HostQuestion, Target};
use crate::reason::{Reason, Refusal};
use crate::runtime::Ending;

/// A question, as policy is asked about it.
#[derive(Debug)]
struct Asking {
    kind: QuestionKind,
    /// Where a person is sent; empty for other questions.
    host: String,
    /// As records name it.
    target: String,
}

impl HostQuestion for Asking {
    fn action(&self) -> HostAction {
        HostAction::Ask
    }

    fn target(&self) -> Target<'_> {
        Target::Plugin
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![
            ("kind", Fact::Text(self.kind.as_str().to_owned())),
            ("host", Fact::Text(self.host.clone())),
        ]
    }
}

impl CallContext {
    /// What the client can be asked.
    pub(crate) fn offers(&self) -> &[QuestionKind] {
        self.client.offers()
    }

    /// Whether the client may be asked all of `questions`. Each is in the journal then.
    ///
    /// # Errors
    ///
    /// Policy refuses one, or nothing can be written: then none is asked.
    pub(crate) fn asks(&mut self, questions: &Questions) -> Result<(), Refusal> {
        // All of them first: a question that is written down as asked was asked, and a round is asked whole.
        let mut allowed = Vec::with_capacity(questions.asked.len());
        for question in &questions.asked {
            allowed.push(self.may_ask(&question.key, &question.ask)?);
        }
        allowed
            .into_iter()
            .try_for_each(|asking| self.asked(&asking))
    }

    /// Has policy decide on one question. One that it refuses is in the journal.
    fn may_ask(&mut self, key: &str, ask: &Ask) -> Result<Checked<Asking>, Refusal> {
        self.count("ask", 0).map_err(Ending::into_refusal)?;
        let host = ask.host();
        let target = match host.as_str() {
            "" => format!("{} {key}", ask.kind().as_str()),
            host => format!("{} {key} {host}", ask.kind().as_str()),
        };
        let asking = Asking {
            kind: ask.kind(),
            host,
            target: target.clone(),
        };
        match self.decide(asking) {
            Ok(checked) => Ok(checked),
            Err(refusal) => {
                // A question that is held is refused: nobody waits for it (`approval.required`).
                let host_call = self.reference("ask", &target);
                self.refuse(host_call, refusal.clone())
                    .map_err(Ending::into_refusal)?;
                Err(refusal)
            }
        }
    }

    /// Writes down that a question is asked.
    fn asked(&mut self, asking: &Checked<Asking>) -> Result<(), Refusal> {
        let host_call = self.reference("ask", &asking.get().target);
        let number = host_call.number;
        let call = self.facts.call;
        self.record(&Event::HostCall(HostCall {
            call,
            host_call,
            method: None,
            bytes_out: 0,
            body: None,
            secrets: Vec::new(),
            secret_uses: Vec::new(),
            decision: asking.ground().clone(),
        }))
        .and_then(|_| {
            // What comes back comes with the next round, which is a call of its own.
            self.record(&Event::HostCallOutcome(HostCallOutcome {
                call,
                number,
                status: "ok".to_owned(),
                reason: None::<Reason>,
                detail: None,
                http_status: None,
                address: None,
                bytes_in: 0,
                duration_us: 0,
            }))
        })
        .map(drop)
        .map_err(Ending::into_refusal)
    }
}
