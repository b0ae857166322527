//! What a store holds for one call: the guest's inert surroundings, its limits, and its grants.

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::stdio::GuestOutput;
use super::trap::Ending;
use crate::capability::CallContext;
use crate::limits::{CallLimits, reached};
use crate::reason::{Reason, Refusal};
use crate::tape::{Player, Recorder};

/// The data of a store. It lives as long as one instance does.
pub(crate) struct CallState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) host_calls: u64,
    pub(super) host_call_limit: u64,
    surroundings: Surroundings,
}

/// What stands behind the host calls of an instance.
pub(super) enum Surroundings {
    /// Nothing, while a plugin describes itself: every host call refuses.
    Nothing,
    /// What the capabilities work on.
    Call(Box<CallContext>),
    /// A tape: each host call that could reach anything is answered by it.
    Tape(Box<Player>),
}

impl Surroundings {
    pub(super) fn into_context(self) -> Option<Box<CallContext>> {
        match self {
            Self::Call(context) => Some(context),
            Self::Nothing | Self::Tape(_) => None,
        }
    }

    pub(super) fn into_player(self) -> Option<Box<Player>> {
        match self {
            Self::Tape(player) => Some(player),
            Self::Nothing | Self::Call(_) => None,
        }
    }
}

impl CallState {
    /// Surroundings with nothing in them: no arguments, no environment, no input, no folders, no
    /// sockets; output goes to `output`.
    pub(super) fn new(
        limits: &CallLimits,
        output: GuestOutput,
        surroundings: Surroundings,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let wasi = WasiCtx::builder()
            .stdout(output.clone())
            .stderr(output)
            .max_random_size(MAX_RANDOM)
            .build();
        Self {
            wasi,
            table,
            limiter: Limiter {
                memory: limits.memory,
                table_entries: limits.table_entries,
                used: 0,
                hit: None,
            },
            host_calls: 0,
            host_call_limit: limits.host_calls,
            surroundings,
        }
    }

    /// The handles of this instance, and what its capabilities work on.
    ///
    /// Fails while a plugin describes itself, and then ends the instance: `describe` is a pure
    /// statement, and one that reaches out is not described.
    pub(crate) fn parts(&mut self) -> wasmtime::Result<(&mut ResourceTable, &mut CallContext)> {
        let (reason, message) = match &mut self.surroundings {
            Surroundings::Call(context) => return Ok((&mut self.table, context)),
            Surroundings::Nothing => (
                Reason::ComponentDescribe,
                "`describe` made a host call; nothing is granted to it",
            ),
            Surroundings::Tape(_) => (
                Reason::HostInternal,
                "a replay made a host call that no tape answers",
            ),
        };
        Err(Ending::from(Refusal::new(reason, message)).into())
    }

    /// The handles of this instance.
    pub(crate) const fn handles(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Whether a tape is written or played.
    pub(crate) const fn has_tape(&self) -> bool {
        match &self.surroundings {
            Surroundings::Call(context) => context.has_tape(),
            Surroundings::Tape(_) => true,
            Surroundings::Nothing => false,
        }
    }

    /// The tape that is written.
    pub(crate) fn recorder(&mut self) -> Option<&mut Recorder> {
        match &mut self.surroundings {
            Surroundings::Call(context) => context.tape(),
            Surroundings::Nothing | Surroundings::Tape(_) => None,
        }
    }

    /// The tape that is played.
    pub(crate) fn player(&mut self) -> Option<&mut Player> {
        match &mut self.surroundings {
            Surroundings::Tape(player) => Some(player),
            Surroundings::Nothing | Surroundings::Call(_) => None,
        }
    }

    /// Closes every handle, and gives out what stood behind the host calls.
    pub(super) fn end(&mut self) -> Surroundings {
        self.table = ResourceTable::new();
        std::mem::replace(&mut self.surroundings, Surroundings::Nothing)
    }
}

/// Bytes of randomness in one call of the inert floor. Wasmtime's own default is 64 MiB.
const MAX_RANDOM: u64 = 64 << 10;

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Bounds memory and tables, and remembers which bound was hit: a guest whose allocation failed
/// mostly aborts, and the caller should learn why.
#[derive(Debug)]
pub(super) struct Limiter {
    memory: usize,
    table_entries: usize,
    /// Bytes of all linear memories together.
    pub(super) used: usize,
    pub(super) hit: Option<Refusal>,
}

/// Core instances, memories and tables that one component may have; language runtimes need a handful.
const MAX_PARTS: usize = 20;

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.memory {
            self.hit = Some(Refusal::new(
                Reason::TrapMemory,
                reached("memory", used, self.memory, " bytes"),
            ));
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.table_entries {
            self.hit = Some(Refusal::new(
                Reason::TrapTable,
                reached("table_entries", desired, self.table_entries, ""),
            ));
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}
