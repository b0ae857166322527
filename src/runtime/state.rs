//! What a store holds for one call: the guest's inert surroundings, its limits, and its grants.

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::stdio::GuestOutput;
use super::trap::Ending;
use crate::capability::CallContext;
use crate::limits::{CallLimits, reached};
use crate::reason::{Reason, Refusal};

/// The data of a store. It lives as long as one instance does.
pub(crate) struct CallState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) host_calls: u64,
    pub(super) host_call_limit: u64,
    /// What the capabilities work on. Absent while a plugin describes itself: every host call refuses then.
    context: Option<Box<CallContext>>,
}

impl CallState {
    /// Surroundings with nothing in them: no arguments, no environment, no input, no folders, no
    /// sockets; output goes to `output`.
    pub(super) fn new(
        limits: &CallLimits,
        output: GuestOutput,
        context: Option<Box<CallContext>>,
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
            context,
        }
    }

    /// The handles of this instance, and what its capabilities work on.
    ///
    /// Fails while a plugin describes itself, and then ends the instance: `describe` is a pure
    /// statement, and one that reaches out is not described.
    pub(crate) fn parts(&mut self) -> wasmtime::Result<(&mut ResourceTable, &mut CallContext)> {
        match &mut self.context {
            Some(context) => Ok((&mut self.table, context)),
            None => Err(Ending::from(Refusal::new(
                Reason::ComponentDescribe,
                "`describe` made a host call; nothing is granted to it",
            ))
            .into()),
        }
    }

    /// Closes every handle, and gives out what the capabilities worked on.
    pub(super) fn end(&mut self) -> Option<Box<CallContext>> {
        self.table = ResourceTable::new();
        self.context.take()
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
