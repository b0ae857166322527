//! What of the inert floor is not the same every time: clocks, random bytes, and what is ready first.
//!
//! Wasmtime's own implementations do the work. They are called through here so that a tape has what
//! they gave, and a replay does not ask them: it waits for nothing and draws nothing. What else the
//! floor offers (streams that lead into the log, an empty environment, no input) is the same every
//! time, so that it stands on no tape.

use wasmtime::component::Resource;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Instant};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::random::WasiRandomCtx;
use wasmtime_wasi_io::bindings::wasi::io::poll;

use super::state::CallState;
use crate::tape::{Fields, Function};

/// Stands for a timer in a replay, where the tape says what was ready.
struct Over;

#[wasmtime_wasi::async_trait]
impl Pollable for Over {
    async fn ready(&mut self) {}
}

impl CallState {
    fn wasi_random(&mut self) -> &mut WasiRandomCtx {
        self.ctx().ctx.random()
    }

    /// A timer; `make` makes a real one.
    fn timer(
        &mut self,
        function: Function,
        nanoseconds: u64,
        make: impl FnOnce(&mut Self) -> wasmtime::Result<Resource<DynPollable>>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let asked = self.asks(function, |fields, _| {
            fields.number("nanoseconds", nanoseconds)
        });
        if let Some(()) = asked? {
            // As many handles as a real one, for their number is limited.
            let table = self.handles();
            let over = table.push(Over)?;
            return subscribe(table, over);
        }
        let timer = make(self);
        self.answered(timer.as_ref().map(|_| &()));
        timer
    }
}

impl monotonic_clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        if let Some(answer) = self.asks(Function::MonotonicNow, |_, _| {})? {
            return Ok(answer);
        }
        let answer = monotonic_clock::Host::now(&mut self.clocks());
        self.answers(answer)
    }

    fn resolution(&mut self) -> wasmtime::Result<Instant> {
        if let Some(answer) = self.asks(Function::MonotonicResolution, |_, _| {})? {
            return Ok(answer);
        }
        let answer = monotonic_clock::Host::resolution(&mut self.clocks());
        self.answers(answer)
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer(Function::SubscribeInstant, when, |state| {
            monotonic_clock::Host::subscribe_instant(&mut state.clocks(), when)
        })
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer(Function::SubscribeDuration, duration, |state| {
            monotonic_clock::Host::subscribe_duration(&mut state.clocks(), duration)
        })
    }
}

impl random::Host for CallState {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let asked = self.asks(Function::WasiRandomBytes, |fields, _| {
            fields.number("length", length);
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = random::Host::get_random_bytes(self.wasi_random(), length);
        self.answers(answer)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        if let Some(answer) = self.asks(Function::WasiRandomNumber, |_, _| {})? {
            return Ok(answer);
        }
        let answer = random::Host::get_random_u64(self.wasi_random());
        self.answers(answer)
    }
}

impl insecure::Host for CallState {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let asked = self.asks(Function::InsecureBytes, |fields, _| {
            fields.number("length", length);
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = insecure::Host::get_insecure_random_bytes(self.wasi_random(), length);
        self.answers(answer)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        if let Some(answer) = self.asks(Function::InsecureNumber, |_, _| {})? {
            return Ok(answer);
        }
        let answer = insecure::Host::get_insecure_random_u64(self.wasi_random());
        self.answers(answer)
    }
}

impl insecure_seed::Host for CallState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        if let Some(answer) = self.asks(Function::InsecureSeed, |_, _| {})? {
            return Ok(answer);
        }
        let answer = insecure_seed::Host::insecure_seed(self.wasi_random());
        self.answers(answer)
    }
}

/// Which pollable it is: its number within the instance's table, which a replay gives out alike.
fn which(fields: &mut Fields, pollable: &Resource<DynPollable>) {
    fields.number("pollable", pollable.rep().into());
}

impl poll::Host for CallState {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let asked = self.asks(Function::Poll, |fields, _| {
            for pollable in &pollables {
                which(fields, pollable);
            }
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = poll::Host::poll(self.handles(), pollables).await;
        self.answers(answer)
    }
}

impl poll::HostPollable for CallState {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        let asked = self.asks(Function::PollableReady, |fields, _| {
            which(fields, &pollable)
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = poll::HostPollable::ready(self.handles(), pollable).await;
        self.answers(answer)
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let asked = self.asks(Function::PollableBlock, |fields, _| {
            which(fields, &pollable)
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = poll::HostPollable::block(self.handles(), pollable).await;
        self.answers(answer)
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.handles(), pollable)
    }
}
