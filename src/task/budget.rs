//! Budgets: what a task may use, in all and of each tool, and what it has used.
//!
//! What is taken is compared and added under one lock, so a budget can't be exceeded, however many
//! calls of a task run at once.
//!
//! # What a restart knows
//!
//! The disk has an upper bound of what was used: each write is ahead of the truth by up to a sixteenth of each
//! budget, and a start takes that bound for what was used. A call, and every HTTP request, waits until the
//! bound on the disk covers it. So a restart never gives back a call, its fuel or a request, whatever
//! moment the process dies at. What is charged without waiting (host calls with no effect outside, bytes)
//! asks for a write at once; a death before that is done gives back what was charged since the last
//! write, beyond the sixteenth that it was ahead. An orderly end writes the exact numbers; a death
//! costs a task at most the sixteenth, and what its calls had reserved at once (fuel, mostly).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::ToolName;

/// How far a write is ahead: this part of each budget.
const AHEAD: u64 = 16;

/// What a budget is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Calls that ran.
    Calls,
    /// Host calls of the capabilities, refused ones included.
    HostCalls,
    /// Fuel of the instances.
    Fuel,
    /// Bytes through host calls, both ways.
    Bytes,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Calls, Self::HostCalls, Self::Fuel, Self::Bytes];

    /// Its name, as budgets are written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::HostCalls => "host_calls",
            Self::Fuel => "fuel",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "as the kinds are")]
pub struct Amounts {
    pub calls: u64,
    pub host_calls: u64,
    pub fuel: u64,
    pub bytes: u64,
}

impl Amounts {
    /// How much of this kind.
    #[must_use]
    pub const fn get(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Calls => self.calls,
            Kind::HostCalls => self.host_calls,
            Kind::Fuel => self.fuel,
            Kind::Bytes => self.bytes,
        }
    }

    const fn get_mut(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Calls => &mut self.calls,
            Kind::HostCalls => &mut self.host_calls,
            Kind::Fuel => &mut self.fuel,
            Kind::Bytes => &mut self.bytes,
        }
    }
}

/// What may be used; no number is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "as the kinds are")]
pub struct Budget {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Budget {
    /// The bound of this kind.
    #[must_use]
    pub const fn get(&self, kind: Kind) -> Option<u64> {
        match kind {
            Kind::Calls => self.calls,
            Kind::HostCalls => self.host_calls,
            Kind::Fuel => self.fuel,
            Kind::Bytes => self.bytes,
        }
    }

    /// Sets the bound of this kind.
    pub const fn set(&mut self, kind: Kind, bound: u64) {
        match kind {
            Kind::Calls => self.calls = Some(bound),
            Kind::HostCalls => self.host_calls = Some(bound),
            Kind::Fuel => self.fuel = Some(bound),
            Kind::Bytes => self.bytes = Some(bound),
        }
    }
}

/// The budgets of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// Of all tools together.
    pub all: Budget,
    /// Of single tools, within that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<ToolName, Budget>,
}

/// What a task has used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Used {
    /// In all.
    pub all: Amounts,
    /// By tool.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<ToolName, Amounts>,
}

/// A budget that has not enough left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) kind: Kind,
    pub(super) budget: u64,
    /// Whose budget: one tool's, or that of all.
    pub(super) tool: Option<ToolName>,
}

/// Budgets, what is used of them, and what the disk knows of that.
#[derive(Debug)]
pub(super) struct Ledger {
    budgets: Budgets,
    used: Used,
    written: Used,
}

impl Ledger {
    /// Of a task that has used at most `written`, as the disk knows.
    pub(super) fn new(budgets: Budgets, written: Used) -> Self {
        Self {
            budgets,
            used: written.clone(),
            written,
        }
    }

    pub(super) const fn used(&self) -> &Used {
        &self.used
    }

    /// What is left of a kind for a tool; none where there is no bound.
    pub(super) fn left(&self, tool: &ToolName, kind: Kind) -> Option<u64> {
        let of = |budget: Option<u64>, used: u64| budget.map(|bound| bound.saturating_sub(used));
        let all = of(self.budgets.all.get(kind), self.used.all.get(kind));
        let own = of(
            self.budgets.tools.get(tool).and_then(|b| b.get(kind)),
            self.used.tools.get(tool).map_or(0, |used| used.get(kind)),
        );
        match (all, own) {
            (Some(all), Some(own)) => Some(all.min(own)),
            (one, other) => one.or(other),
        }
    }

    /// Takes `n` for `tool`, in all and of its own.
    ///
    /// # Errors
    ///
    /// One of the two has not so much left; then nothing is taken.
    pub(super) fn take(&mut self, tool: &ToolName, kind: Kind, n: u64) -> Result<(), Over> {
        if self.left(tool, kind).is_some_and(|left| left < n) {
            return Err(self.over(tool, kind, n));
        }
        self.change(tool, kind, |used| used.saturating_add(n));
        Ok(())
    }

    /// The budget that has no `n` left: the tool's own, or that of all.
    pub(super) fn over(&self, tool: &ToolName, kind: Kind, n: u64) -> Over {
        let own = self.budgets.tools.get(tool).and_then(|b| b.get(kind));
        let used = self.used.tools.get(tool).map_or(0, |used| used.get(kind));
        match own {
            Some(budget) if budget.saturating_sub(used) < n => Over {
                kind,
                budget,
                tool: Some(tool.clone()),
            },
            _ => Over {
                kind,
                budget: self.budgets.all.get(kind).unwrap_or_default(),
                tool: None,
            },
        }
    }

    /// Takes what is left, at most `n`.
    pub(super) fn drain(&mut self, tool: &ToolName, kind: Kind, n: u64) {
        let n = self.left(tool, kind).map_or(n, |left| left.min(n));
        self.change(tool, kind, |used| used.saturating_add(n));
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&mut self, tool: &ToolName, kind: Kind, n: u64) {
        self.change(tool, kind, |used| used.saturating_sub(n));
    }

    fn change(&mut self, tool: &ToolName, kind: Kind, change: impl Fn(u64) -> u64) {
        let all = self.used.all.get_mut(kind);
        *all = change(*all);
        let own = match self.used.tools.get_mut(tool) {
            Some(own) => own,
            None => self.used.tools.entry(tool.clone()).or_default(),
        };
        let own = own.get_mut(kind);
        *own = change(*own);
    }

    /// Whether the disk knows of everything that counts against a bound.
    pub(super) fn is_covered(&self) -> bool {
        let none = Amounts::default();
        let covered = |budget: &Budget, used: &Amounts, written: &Amounts| {
            Kind::ALL
                .iter()
                .all(|kind| budget.get(*kind).is_none() || used.get(*kind) <= written.get(*kind))
        };
        covered(&self.budgets.all, &self.used.all, &self.written.all)
            && self.budgets.tools.iter().all(|(tool, budget)| {
                covered(
                    budget,
                    self.used.tools.get(tool).unwrap_or(&none),
                    self.written.tools.get(tool).unwrap_or(&none),
                )
            })
    }

    /// What to write: ahead of what is used, never beyond a budget, and never less than what was written:
    /// somebody may rest on that while this is on its way.
    pub(super) fn ahead(&self) -> Used {
        let none = Amounts::default();
        let raise = |budget: &Budget, amounts: &mut Amounts, written: &Amounts| {
            for kind in Kind::ALL {
                if let Some(bound) = budget.get(kind) {
                    let amount = amounts.get_mut(kind);
                    let further = amount.saturating_add(bound / AHEAD).min(bound);
                    *amount = further.max(*amount).max(written.get(kind));
                }
            }
        };
        let mut ahead = self.used.clone();
        raise(&self.budgets.all, &mut ahead.all, &self.written.all);
        for (tool, budget) in &self.budgets.tools {
            let written = self.written.tools.get(tool).unwrap_or(&none);
            let own = ahead.tools.entry(tool.clone()).or_default();
            raise(budget, own, written);
        }
        ahead
    }

    /// Notes what the disk knows now.
    pub(super) fn wrote(&mut self, written: Used) {
        self.written = written;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tool(name: &str) -> ToolName {
        format!("p.{name}").parse().unwrap()
    }

    fn budgets() -> Budgets {
        let mut budgets = Budgets::default();
        budgets.all.calls = Some(10);
        budgets.all.bytes = Some(1_000);
        budgets
            .tools
            .entry(tool("a"))
            .or_default()
            .set(Kind::Calls, 3);
        budgets
    }

    #[test]
    fn a_budget_of_one_tool_lies_within_that_of_all() {
        let mut ledger = Ledger::new(budgets(), Used::default());
        for _ in 0..3 {
            ledger.take(&tool("a"), Kind::Calls, 1).unwrap();
        }
        let over = ledger.take(&tool("a"), Kind::Calls, 1).unwrap_err();
        assert_eq!((over.budget, over.tool), (3, Some(tool("a"))));
        for _ in 0..7 {
            ledger.take(&tool("b"), Kind::Calls, 1).unwrap();
        }
        let over = ledger.take(&tool("b"), Kind::Calls, 1).unwrap_err();
        assert_eq!((over.budget, over.tool), (10, None));
        // A bound that is not set binds nothing.
        ledger.take(&tool("b"), Kind::Fuel, u64::MAX).unwrap();
        assert_eq!(ledger.left(&tool("b"), Kind::Fuel), None);
        ledger.drain(&tool("b"), Kind::Bytes, 5_000);
        assert_eq!(ledger.used().all.bytes, 1_000);
    }

    #[test]
    fn small_budgets_are_written_exactly_and_large_ones_ahead() {
        let mut ledger = Ledger::new(budgets(), Used::default());
        ledger.take(&tool("a"), Kind::Calls, 1).unwrap();
        assert!(!ledger.is_covered());
        let ahead = ledger.ahead();
        assert_eq!((ahead.all.calls, ahead.all.bytes), (1, 62));
        ledger.wrote(ahead);
        assert!(ledger.is_covered());
        ledger.take(&tool("a"), Kind::Bytes, 62).unwrap();
        assert!(ledger.is_covered(), "within what was written ahead");
        ledger.take(&tool("a"), Kind::Bytes, 1).unwrap();
        assert!(!ledger.is_covered());
    }

    #[derive(Debug, Clone)]
    enum Act {
        Take(bool, Kind, u64),
        GiveBack(u64),
        Write,
        Die,
    }

    fn act() -> impl Strategy<Value = Act> {
        let kind = prop_oneof![Just(Kind::Calls), Just(Kind::Bytes), Just(Kind::Fuel)];
        prop_oneof![
            6 => (any::<bool>(), kind, 0_u64..200).prop_map(|(a, k, n)| Act::Take(a, k, n)),
            2 => (0_u64..50).prop_map(Act::GiveBack),
            2 => Just(Act::Write),
            1 => Just(Act::Die),
        ]
    }

    proptest! {
        /// Whatever is taken, given back, written and lost: no budget is exceeded, and what was covered
        /// when the process died is known after it.
        #[test]
        fn no_budget_is_exceeded_and_no_death_gives_back_what_was_covered(acts in proptest::collection::vec(act(), 1..80)) {
            let mut ledger = Ledger::new(budgets(), Used::default());
            let mut taken = 0_u64;
            for act in acts {
                match act {
                    Act::Take(a, kind, n) => {
                        let tool = tool(if a { "a" } else { "b" });
                        let before = ledger.used().all.get(kind);
                        let took = ledger.take(&tool, kind, n).is_ok();
                        prop_assert_eq!(ledger.used().all.get(kind), before + if took { n } else { 0 });
                        if took && kind == Kind::Bytes {
                            taken += n;
                        }
                    }
                    Act::GiveBack(n) => {
                        let n = n.min(taken).min(ledger.used().tools.get(&tool("b")).map_or(0, |u| u.bytes));
                        ledger.give_back(&tool("b"), Kind::Bytes, n);
                        taken -= n;
                    }
                    Act::Write => {
                        let ahead = ledger.ahead();
                        ledger.wrote(ahead);
                        prop_assert!(ledger.is_covered());
                    }
                    Act::Die => {
                        let (was, covered) = (ledger.used().clone(), ledger.is_covered());
                        ledger = Ledger::new(budgets(), ledger.written.clone());
                        if covered {
                            prop_assert!(ledger.used().all.calls >= was.all.calls);
                            prop_assert!(ledger.used().all.bytes >= was.all.bytes);
                        }
                        taken = ledger.used().all.bytes;
                    }
                }
                let used = ledger.used();
                prop_assert!(used.all.calls <= 10 && used.all.bytes <= 1_000);
                prop_assert!(used.tools.get(&tool("a")).is_none_or(|own| own.calls <= 3));
                let written = &ledger.ahead().all;
                prop_assert!(written.calls <= 10 && written.bytes <= 1_000);
            }
        }
    }
}
