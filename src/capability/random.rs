//! The `random` capability: bytes fit for keys and nonces.

use crate::grant::Grant;
use crate::policy::{Fact, HostAction, HostQuestion, Target};
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::random::Host;
use crate::runtime::bindings::types;
use crate::runtime::{CallState, Ending};
use crate::tape::Function;

/// Bytes at once; enough for any key.
const MOST: u32 = 64 << 10;

/// A draw of random bytes.
#[derive(Debug)]
struct Draw;

impl HostQuestion for Draw {
    fn action(&self) -> HostAction {
        HostAction::Random
    }

    fn target(&self) -> Target<'_> {
        Target::Plugin
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        Vec::new()
    }
}

impl Host for CallState {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        let asked = self.asks(Function::RandomBytes, |fields, _| {
            fields.number("length", length.into());
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.draw(length);
        self.answers(answer)
    }
}

impl CallState {
    fn draw(&mut self, length: u32) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        let (_, context) = self.parts()?;
        context.count("random", length.min(MOST) as usize)?;
        let decided = match context.grant("random").as_deref() {
            _ if length > MOST => Err(Refusal::new(
                Reason::BudgetHostBytes,
                format!("{length} random bytes at once, of {MOST} at most"),
            )),
            Some(Grant::Random) => context.decide(Draw).map(|_| ()),
            _ => Err(Refusal::new(
                Reason::GrantAbsent,
                "this call was not granted random bytes",
            )),
        };
        match decided {
            Ok(()) => {
                let mut bytes = vec![0; length as usize];
                context.services.entropy.fill(&mut bytes).map_err(|error| {
                    Ending::from(
                        Refusal::new(Reason::HostInternal, "no random bytes")
                            .with_detail(error.to_string()),
                    )
                })?;
                Ok(Ok(bytes))
            }
            Err(refusal) => {
                let reference = context.reference("random", &length.to_string());
                Ok(Err(context.refuse(reference, refusal)?))
            }
        }
    }
}
