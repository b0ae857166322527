//! Questions to the client, as host calls: each is decided by policy and written down before it goes out.

use super::context::CallContext;
use crate::call::{Ask, Questions};
use crate::journal::record::{Event, HostCall, HostCallOutcome};
use crate::plugin::QuestionKind;
use crate::policy::{Fact, HostAction, HostQuestion, Target};
use crate::reason::{Reason, Refusal};
use crate::runtime::Ending;

/// A question, as policy is asked about it.
#[derive(Debug)]
struct Asking {
    kind: QuestionKind,
    /// Where a person is sent; empty for other questions.
    host: String,
    round: u32,
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
            ("round", Fact::Whole(self.round.into())),
        ]
    }
}

impl CallContext {
    /// What the client can be asked.
    pub(crate) fn offers(&self) -> &[QuestionKind] {
        self.client.offers()
    }

    /// Whether the client may be asked all of `questions`, in this round. Each is in the journal then.
    ///
    /// # Errors
    ///
    /// Policy refuses one, or nothing can be written: then none is asked.
    pub(crate) fn asks(&mut self, questions: &Questions, round: u32) -> Result<(), Refusal> {
        for question in &questions.asked {
            self.ask_client(&question.key, &question.ask, round)?;
        }
        Ok(())
    }

    fn ask_client(&mut self, key: &str, ask: &Ask, round: u32) -> Result<(), Refusal> {
        self.count("ask", 0).map_err(Ending::into_refusal)?;
        let host = ask.host();
        let target = match host.as_str() {
            "" => format!("{} {key}", ask.kind().as_str()),
            host => format!("{} {key} {host}", ask.kind().as_str()),
        };
        let host_call = self.reference("ask", &target);
        let asking = Asking {
            kind: ask.kind(),
            host,
            round,
        };
        let checked = match self.decide(asking) {
            Ok(checked) => checked,
            Err(refusal) => {
                // A question that is held is refused: nobody waits for it (`approval.required`).
                self.refuse(host_call, refusal.clone())
                    .map_err(Ending::into_refusal)?;
                return Err(refusal);
            }
        };
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
            decision: checked.ground().clone(),
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
