//! A call again, on its tape.
//!
//! Nothing runs without a permit, and a replay has none; so it is given nothing that a permit is for.
//! Its store holds a player in the place of a call's context, and there is no other way from an import
//! to the network, secrets, state or the journal.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::component::Code;
use super::enter::{self, Answer, Entering};
use super::patience::Patience;
use super::run;
use super::state::Surroundings;
use super::stdio::GuestOutput;
use super::{Runtime, artifact};
use crate::capability::log::GuestLog;
use crate::digest::Digest;
use crate::limits::CallLimits;
use crate::name::ToolName;
use crate::reason::Refusal;
use crate::secret::Lent;
use crate::tape::Player;

/// How long a replay may take at least. It waits for nothing, so that this is a bound on the machine: a
/// slow one must not make a good tape look bad.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a replay.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) answer: Result<Answer, Refusal>,
    /// Fuel used.
    pub(crate) fuel: u64,
    /// The tape, as far as it was played.
    pub(crate) player: Option<Box<Player>>,
}

impl Runtime {
    /// Runs `tool` of `code` with these arguments on what `player` has.
    pub(crate) async fn replay(
        &self,
        code: &Code,
        tool: &ToolName,
        arguments: &str,
        limits: &CallLimits,
        player: Box<Player>,
    ) -> Replayed {
        let log = GuestLog::new(tool.plugin().clone(), None, Lent::new(), limits.log_bytes);
        let output = GuestOutput::new(log);
        let mut store = self.store(limits, &output, Surroundings::Tape(player));
        // Only first rounds of tools are taped.
        let entering = Entering::default();
        let calling = enter::call(
            &mut store,
            code,
            tool.tool(),
            arguments.to_owned(),
            entering,
        );
        let time = limits.time.max(PATIENCE);
        let never = CancellationToken::new();
        let result = self
            .bounded(time, &Patience::start(), &never, calling)
            .await;
        output.finish();
        let (answer, fuel, surroundings) = run::ended(&mut store, limits, result);
        Replayed {
            answer,
            fuel,
            player: surroundings.into_player(),
        }
    }

    /// The component with this digest, from its compiled form; none where this host did not keep it.
    pub(crate) fn kept_code(&self, digest: Digest) -> Option<Result<Code, Refusal>> {
        let component = self.artifacts.kept(&self.engine, digest)?;
        Some(Code::link(&self.engine, &self.linker, &component, digest))
    }

    /// What decides whether compiled code fits this engine: two that differ in it may count otherwise.
    pub(crate) fn fit(&self) -> Digest {
        artifact::fit_of(&self.engine)
    }
}
