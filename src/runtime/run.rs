//! One call in one instance.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmtime::{CallHook, Store};

use super::Runtime;
use super::component::Code;
use super::described::Said;
use super::enter::{self, Answer, Entering};
use super::patience::Patience;
use super::state::{CallState, Surroundings};
use super::stdio::GuestOutput;
use super::trap::{Ending, classify};
use crate::capability::log::GuestLog;
use crate::capability::{CallContext, taped};
use crate::limits::{CallLimits, reached};
use crate::policy::Permit;
use crate::reason::{Reason, Refusal};

/// Fuel for each host call, on top of what the guest's own instructions cost: about the time that
/// the cheapest one takes in the host, so that calling is never cheaper than computing.
const HOST_CALL_FUEL: u64 = 1_000;

/// How a call ended.
pub(crate) struct Ended {
    /// What the plugin answered, or why there is no answer.
    pub(crate) answer: Result<Answer, Refusal>,
    /// Fuel used.
    pub(crate) fuel: u64,
    /// What the capabilities worked on: counts, refusals, lent secrets.
    pub(crate) context: Option<Box<CallContext>>,
    /// The instance, where there was one.
    pub(crate) remains: Option<Remains>,
}

/// What an ended instance leaves: its memory, its tables and its place in the pool, and nothing that
/// reaches out of it. Cleaning it takes longer than anything else at the end of a short call.
pub(crate) struct Remains(Store<CallState>);

impl Remains {
    /// Cleans it and gives it back, together with `places`, which stand for it until then.
    ///
    /// Within a task that is left to the next task of this thread: the reply of this one goes out before.
    pub(crate) fn give_back<T: Send + 'static>(self, places: T) {
        let give_back = move || {
            drop(self.0);
            drop(places);
        };
        if tokio::task::try_id().is_some() {
            drop(tokio::spawn(async move { give_back() }));
        } else {
            give_back();
        }
    }
}

impl Runtime {
    /// Runs the call that `permit` allows, in a fresh instance of `code`.
    ///
    /// The permit is used up: there is no way to run twice on one decision.
    pub(crate) async fn run(
        &self,
        permit: Permit,
        code: &Code,
        entering: Entering,
        context: Box<CallContext>,
        limits: &CallLimits,
        cancel: &CancellationToken,
    ) -> Ended {
        let arguments = context.arguments().canonical().to_owned();
        // INVARIANT: policy decided on exactly the component that runs, the text that it gets, and the round.
        if context.arguments().digest() != permit.arguments_digest()
            || context.round().map(|round| round.bound) != permit.round()
            || code.digest != permit.plugin_digest()
        {
            return Ended {
                answer: Err(Refusal::new(
                    Reason::HostInternal,
                    "the permit is for another call",
                )),
                fuel: 0,
                context: Some(context),
                remains: None,
            };
        }
        let output = GuestOutput::new(context.log());
        let patience = context.patience();
        let mut store = self.store(limits, &output, Surroundings::Call(context));
        let calling = enter::call(&mut store, code, permit.tool().tool(), arguments, entering);
        let result = self.bounded(limits.time, &patience, cancel, calling).await;
        output.finish();
        let (answer, fuel, surroundings) = ended(&mut store, limits, result);
        let mut context = surroundings.into_context();
        if let Some(tape) = context.as_mut().and_then(|context| context.tape()) {
            tape.end(fuel, answer.as_ref().map(taped::digest));
        }
        Ended {
            answer,
            fuel,
            context,
            remains: Some(Remains(store)),
        }
    }

    /// What the plugin says of itself: what it said before, where that was kept; else it is asked, in an
    /// instance without any grant.
    pub(crate) async fn describe(
        &self,
        code: &Code,
        limits: &CallLimits,
        log: std::sync::Arc<GuestLog>,
    ) -> Result<Said, Refusal> {
        if let Some(said) = self.artifacts.description(&self.engine, code.digest) {
            return Ok(said);
        }
        let said = self.asked(code, limits, log).await?;
        self.artifacts
            .keep_description(&self.engine, code.digest, &said);
        Ok(said)
    }

    async fn asked(
        &self,
        code: &Code,
        limits: &CallLimits,
        log: std::sync::Arc<GuestLog>,
    ) -> Result<Said, Refusal> {
        let output = GuestOutput::new(log);
        let mut store = self.store(limits, &output, Surroundings::Nothing);
        let calling = enter::describe(&mut store, code);
        let result = self
            .bounded(
                limits.time,
                &Patience::start(),
                &CancellationToken::new(),
                calling,
            )
            .await;
        output.finish();
        let hit = store.data_mut().limiter.hit.take();
        result.map_err(|refusal| named(refusal, hit, limits))
    }

    pub(super) fn store(
        &self,
        limits: &CallLimits,
        output: &GuestOutput,
        surroundings: Surroundings,
    ) -> Store<CallState> {
        let mut store = Store::new(
            &self.engine,
            CallState::new(limits, output.clone(), surroundings),
        );
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.host_call_bytes);
        // The engine consumes fuel, so this can't fail; with no fuel the guest would not run at all.
        drop(store.set_fuel(limits.fuel));
        // Yields at each tick, so that a loop never keeps a thread from others; the deadline and a
        // cancellation are seen at that point.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store.call_hook(|mut store, hook| {
            if !matches!(hook, CallHook::CallingHost) {
                return Ok(());
            }
            let fuel = store.get_fuel()?;
            store.set_fuel(fuel.saturating_sub(HOST_CALL_FUEL))?;
            let state = store.data_mut();
            state.host_calls += 1;
            if state.host_calls > state.host_call_limit {
                return Err(Ending::from(Refusal::new(
                    Reason::BudgetHostCalls,
                    reached("host_calls", state.host_calls, state.host_call_limit, ""),
                ))
                .into());
            }
            Ok(())
        });
        store
    }

    pub(super) async fn bounded<T>(
        &self,
        time: Duration,
        patience: &Patience,
        cancel: &CancellationToken,
        calling: impl Future<Output = wasmtime::Result<T>>,
    ) -> Result<T, Refusal> {
        let _ticking = self.ticker.guard();
        tokio::select! {
            // A result that is there counts, also at the deadline.
            biased;
            result = calling => result.map_err(|error| classify(&error)),
            () = cancel.cancelled() => Err(Refusal::new(Reason::CallCancelled, "the call was cancelled")),
            () = patience.over(time) => Err(Refusal::new(
                Reason::TrapDeadline,
                reached("time", patience.used().as_millis(), time.as_millis(), " ms"),
            )),
        }
    }
}

/// The answer or why there is none, the fuel used, and what stood behind the host calls.
pub(super) fn ended(
    store: &mut Store<CallState>,
    limits: &CallLimits,
    result: Result<Answer, Refusal>,
) -> (Result<Answer, Refusal>, u64, Surroundings) {
    let fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
    let state = store.data_mut();
    let hit = state.limiter.hit.take();
    let answer = result.map_err(|refusal| named(refusal, hit, limits));
    // Handles end with the call, whenever its memory is cleaned.
    (answer, fuel, state.end())
}

/// The refusal with the limit that was reached, and by how much, where the engine does not say it.
/// `hit` is what the guest asked for and was not given.
fn named(refusal: Refusal, hit: Option<Refusal>, limits: &CallLimits) -> Refusal {
    let said = match (refusal.reason, hit) {
        // An allocation that failed mostly ends in an abort: the bound is the reason, not the abort.
        (Reason::TrapGuest | Reason::TrapMemory | Reason::TrapTable, Some(hit)) => {
            return hit.with_detail(refusal.detail.unwrap_or_default());
        }
        (Reason::TrapFuel, _) => reached("fuel", limits.fuel, limits.fuel, ""),
        (Reason::BudgetHandles, _) => reached(
            "handles",
            limits.handles.saturating_add(1),
            limits.handles,
            "",
        ),
        (Reason::TrapHostCallBytes, _) => {
            let more = format!("more than {}", limits.host_call_bytes);
            reached("host_call_bytes", more, limits.host_call_bytes, " bytes")
        }
        _ => return refusal,
    };
    Refusal {
        message: said.into(),
        ..refusal
    }
}
