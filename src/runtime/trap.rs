//! Why an instance ended before it gave an answer, as a reason from the closed list.

use wasmtime::Trap;

use super::engine::STACK;
use crate::reason::{Reason, Refusal};

/// Ends the instance for a reason that the host knows: an error that host functions return where
/// the guest must not go on.
#[derive(Debug)]
pub(crate) struct Ending(Refusal);

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl Ending {
    /// The reason.
    pub(crate) fn into_refusal(self) -> Refusal {
        self.0
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Ending {}

/// The reason behind `error`.
pub(crate) fn classify(error: &wasmtime::Error) -> Refusal {
    if let Some(Ending(refusal)) = error.downcast_ref::<Ending>() {
        return refusal.clone();
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Refusal::new(
            Reason::TrapExit,
            format!("the plugin exited with status {}", exit.0),
        );
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::OutOfFuel => Refusal::new(Reason::TrapFuel, "the plugin used up its fuel"),
            Trap::StackOverflow => Refusal::new(
                Reason::TrapStack,
                format!("the plugin used up its stack of {} KiB", STACK >> 10),
            ),
            Trap::Interrupt => Refusal::new(Reason::TrapDeadline, "the plugin was interrupted"),
            other => Refusal::new(Reason::TrapGuest, format!("the plugin trapped: {other}")),
        };
    }
    if error
        .downcast_ref::<wasmtime::component::ResourceTableError>()
        .is_some()
    {
        return Refusal::new(
            Reason::BudgetHandles,
            "the plugin holds more handles than a call may",
        )
        .with_detail(format!("{error:#}"));
    }
    // Wasmtime has no type for these two.
    let text = format!("{error:#}");
    let reason = if text.contains("fuel allocated for hostcalls") {
        Reason::TrapHostCallBytes
    } else if text.contains("memory minimum size") || text.contains("memory limit") {
        Reason::TrapMemory
    } else if text.contains("table minimum size")
        || text.contains("table limit")
        || text.contains("minimum table size")
    {
        Reason::TrapTable
    } else {
        Reason::TrapGuest
    };
    Refusal::new(reason, "the plugin trapped").with_detail(text)
}
