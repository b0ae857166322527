//! The `clock` capability: the time of day.

use crate::grant::Grant;
use crate::policy::{Fact, HostAction, HostQuestion, Target};
use crate::reason::{Reason, Refusal};
use crate::runtime::CallState;
use crate::runtime::bindings::clock::{Datetime, Host};
use crate::runtime::bindings::types;
use crate::tape::Function;

/// A look at the clock.
#[derive(Debug)]
struct Look;

impl HostQuestion for Look {
    fn action(&self) -> HostAction {
        HostAction::Clock
    }

    fn target(&self) -> Target<'_> {
        Target::Plugin
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        Vec::new()
    }
}

impl Host for CallState {
    fn now(&mut self) -> wasmtime::Result<Result<Datetime, types::Error>> {
        if let Some(answer) = self.asks(Function::ClockNow, |_, _| {})? {
            return Ok(answer);
        }
        let answer = self.time_of_day();
        self.answers(answer)
    }
}

impl CallState {
    fn time_of_day(&mut self) -> wasmtime::Result<Result<Datetime, types::Error>> {
        let (_, context) = self.parts()?;
        context.count("clock", 0)?;
        let decided = match context.grant("clock").as_deref() {
            Some(Grant::Clock) => context.decide(Look),
            _ => Err(Refusal::new(
                Reason::GrantAbsent,
                "this call was not granted the clock",
            )),
        };
        match decided {
            Ok(_) => {
                let now = context.services.clock.now();
                Ok(Ok(Datetime {
                    seconds: now.as_secs(),
                    // To the millisecond, as the contract says: no finer clock for measuring others.
                    nanoseconds: now.subsec_millis() * 1_000_000,
                }))
            }
            Err(refusal) => {
                let reference = context.reference("clock", "now");
                Ok(Err(context.refuse(reference, refusal)?))
            }
        }
    }
}
