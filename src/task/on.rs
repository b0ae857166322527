//! A call on a task: what it reserved, what it is charged, and what it gives back.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Tasks;
use super::budget::{Kind, Ledger, Over};
use super::enter::Line;
use super::live::Live;
use crate::id::TaskId;
use crate::name::ToolName;
use crate::policy::TaskFacts;
use crate::reason::{Reason, Refusal};

/// Fuel that no call can do anything with.
const USELESS: u64 = 10_000;

/// A call's place on its task. All clones are one; the last one gives back what was not used.
#[derive(Debug, Clone)]
pub(crate) struct OnTask(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tasks: Tasks,
    /// The task, then those that it lies within.
    line: Vec<Arc<Live>>,
    tool: ToolName,
    /// The fuel that was reserved, where a budget bounds it.
    fuel: Option<u64>,
    phase: Mutex<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing ran: all of it can go back.
    Entered,
    /// It runs, or was cut off: its fuel counts as used.
    Begun,
    /// It ended, and what it did not use went back.
    Finished,
}

impl OnTask {
    /// Takes one call of every task in `line`, and fuel up to `most`: all that is left where no other
    /// call of the task runs, and half of it where one does, so that each leaves something to the next.
    pub(super) fn enter(line: Line, tool: ToolName, most: u64) -> Result<Self, Refusal> {
        let Line { tasks, line } = line;
        let mut ledgers = locked(&line);
        let mut fuel = None;
        for (live, ledger) in line.iter().zip(&ledgers) {
            if ledger.left(&tool, Kind::Calls) == Some(0) {
                return Err(over(&ledger.over(&tool, Kind::Calls, 1)));
            }
            if let Some(left) = ledger.left(&tool, Kind::Fuel) {
                let alone = live.calls.load(Ordering::Acquire) == 0;
                let share = if alone { left } else { left / 2 };
                if share < USELESS {
                    return Err(over(&ledger.over(&tool, Kind::Fuel, left + 1)));
                }
                fuel = Some(fuel.unwrap_or(most).min(share));
            }
        }
        for (live, ledger) in line.iter().zip(&mut ledgers) {
            let reserve = fuel.unwrap_or(0);
            // Nobody else had the ledgers since they were looked at.
            ledger
                .take(&tool, Kind::Calls, 1)
                .and_then(|()| ledger.take(&tool, Kind::Fuel, reserve))
                .map_err(|found| over(&found))?;
            live.calls.fetch_add(1, Ordering::AcqRel);
        }
        drop(ledgers);
        Ok(Self(Arc::new(Inner {
            tasks,
            line,
            tool,
            fuel,
            phase: Mutex::new(Phase::Entered),
        })))
    }

    /// The task.
    pub(crate) fn id(&self) -> Option<TaskId> {
        self.0.line.first().map(|live| live.task.id)
    }

    /// What policy is told of it.
    pub(crate) fn facts(&self) -> TaskFacts {
        let live = self.0.line.first();
        live.map_or_else(TaskFacts::default, |live| live.facts())
    }

    /// The fuel that this call may use, of `limit`; and whether that is the task's doing.
    pub(crate) fn fuel(&self, limit: u64) -> (u64, bool) {
        match self.0.fuel {
            Some(reserved) if reserved < limit => (reserved, true),
            _ => (limit, false),
        }
    }

    /// From now on it runs. Returns once the disk covers what was reserved.
    pub(crate) async fn begin(&self) -> Result<(), Refusal> {
        self.settle().await?;
        *self.0.phase() = Phase::Begun;
        Ok(())
    }

    /// Returns once the disk covers what was charged.
    pub(crate) async fn settle(&self) -> Result<(), Refusal> {
        for live in &self.0.line {
            self.0.tasks.cover(live).await?;
        }
        Ok(())
    }

    /// Charges host calls and bytes, all or nothing.
    pub(crate) fn charge(&self, host_calls: u64, bytes: u64) -> Result<(), Refusal> {
        let tool = &self.0.tool;
        let mut ledgers = locked(&self.0.line);
        for (kind, n) in [(Kind::HostCalls, host_calls), (Kind::Bytes, bytes)] {
            let short = ledgers
                .iter()
                .find(|ledger| ledger.left(tool, kind).is_some_and(|left| left < n))
                .map(|ledger| ledger.over(tool, kind, n));
            if let Some(found) = short {
                if kind == Kind::Bytes {
                    // They were carried already: nothing of that budget is left for a smaller one.
                    for ledger in &mut ledgers {
                        ledger.drain(tool, kind, n);
                    }
                }
                return Err(over(&found));
            }
        }
        for ledger in &mut ledgers {
            ledger
                .take(tool, Kind::HostCalls, host_calls)
                .and_then(|()| ledger.take(tool, Kind::Bytes, bytes))
                .map_err(|found| over(&found))?;
        }
        drop(ledgers);
        for live in &self.0.line {
            self.0.tasks.cover_soon(live);
        }
        Ok(())
    }

    /// The bytes that are left, where they are bounded.
    pub(crate) fn bytes_left(&self) -> Option<u64> {
        let left = self
            .0
            .line
            .iter()
            .filter_map(|live| live.ledger().left(&self.0.tool, Kind::Bytes));
        left.min()
    }

    /// It ended, having used `fuel`. The labels are on the task, and on the disk, once this returns.
    pub(crate) async fn finish(&self, fuel: u64, labels: &BTreeSet<String>) -> Result<(), Refusal> {
        {
            let mut phase = self.0.phase();
            if *phase == Phase::Begun {
                *phase = Phase::Finished;
                for live in &self.0.line {
                    let mut ledger = live.ledger();
                    match self.0.fuel {
                        Some(reserved) => {
                            let rest = reserved.saturating_sub(fuel);
                            ledger.give_back(&self.0.tool, Kind::Fuel, rest);
                        }
                        None => ledger.drain(&self.0.tool, Kind::Fuel, fuel),
                    }
                }
            }
        }
        if labels.is_empty() {
            return Ok(());
        }
        self.0.tasks.label(&self.0.line, labels).await
    }
}

impl Inner {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let unused = *self.phase() == Phase::Entered;
        for live in &self.line {
            live.calls.fetch_sub(1, Ordering::AcqRel);
            if unused {
                let mut ledger = live.ledger();
                ledger.give_back(&self.tool, Kind::Calls, 1);
                ledger.give_back(&self.tool, Kind::Fuel, self.fuel.unwrap_or(0));
            }
        }
    }
}

/// The ledgers of a task and of what it lies within. Always from the inner to the outer, so that no two
/// calls wait for each other.
fn locked(line: &[Arc<Live>]) -> Vec<MutexGuard<'_, Ledger>> {
    line.iter().map(|live| live.ledger()).collect()
}

/// The refusal of what is over a budget.
fn over(found: &Over) -> Refusal {
    let of = match &found.tool {
        Some(tool) => format!(" for `{tool}`"),
        None => String::new(),
    };
    Refusal::new(
        Reason::BudgetTask,
        format!(
            "the task's budget of {} `{}`{of} is used up",
            found.budget, found.kind
        ),
    )
}

/// The refusal of a call that used up what its task gave it.
pub(crate) fn out_of_fuel(reserved: u64) -> Refusal {
    Refusal::new(
        Reason::BudgetTask,
        format!("the call used up the {reserved} `fuel` that its task had left for it"),
    )
}
