//! How often an agent asked for the same: policies look at it, and so do people.
//!
//! Whoever could make the host forget would begin at one again. So nothing is forgotten for want of room:
//! each agent has room of its own, and what it asks for once that is full counts as one ask that it repeats.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::identity::AgentId;
use crate::name::ToolName;

/// Identical asks within this time are attempts of one.
const WINDOW: Duration = Duration::from_secs(600);
/// Different asks of one agent that are remembered: sixteen a second for the whole window, which only a
/// flood is, in a few MiB.
const MEMORY: usize = 10_000;
/// How often what is older than the window goes. Not with each ask: it looks at all of them.
const TIDY: Duration = Duration::from_secs(60);

/// The attempts of all agents.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    agents: HashMap<AgentId, Asks>,
    tidied: Option<Instant>,
}

/// The attempts of one agent.
#[derive(Debug, Default)]
struct Asks {
    tools: HashMap<ToolName, HashMap<Digest, Count>>,
    /// In all of `tools`.
    known: usize,
    /// All that there was no room for, as if it were one ask.
    others: Option<Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    attempts: u32,
    latest: Instant,
}

impl Attempts {
    /// Counts an ask of `agent` now; gives which attempt it is.
    pub(super) fn count(
        &mut self,
        agent: &AgentId,
        tool: &ToolName,
        arguments: Digest,
        now: Instant,
    ) -> u32 {
        if self
            .tidied
            .is_none_or(|then| now.saturating_duration_since(then) >= TIDY)
        {
            self.tidied = Some(now);
            self.agents.retain(|_, asks| asks.tidy(now));
        }
        if let Some(asks) = self.agents.get_mut(agent) {
            return asks.count(tool, arguments, now);
        }
        let asks = self.agents.entry(agent.clone()).or_default();
        asks.count(tool, arguments, now)
    }
}

impl Asks {
    fn count(&mut self, tool: &ToolName, arguments: Digest, now: Instant) -> u32 {
        if let Some(count) = self
            .tools
            .get_mut(tool)
            .and_then(|asks| asks.get_mut(&arguments))
        {
            return count.again(now);
        }
        if self.known >= MEMORY {
            return self.others.get_or_insert(Count::none(now)).again(now);
        }
        self.known += 1;
        let asks = self.tools.entry(tool.clone()).or_default();
        asks.entry(arguments).or_insert(Count::none(now)).again(now)
    }

    /// Forgets what is older than the window; whether anything is left.
    fn tidy(&mut self, now: Instant) -> bool {
        self.tools.retain(|_, asks| {
            asks.retain(|_, count| count.is_fresh(now));
            !asks.is_empty()
        });
        self.known = self.tools.values().map(HashMap::len).sum();
        self.others = self.others.filter(|count| count.is_fresh(now));
        self.known > 0 || self.others.is_some()
    }
}

impl Count {
    const fn none(now: Instant) -> Self {
        Self {
            attempts: 0,
            latest: now,
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.latest) < WINDOW
    }

    fn again(&mut self, now: Instant) -> u32 {
        if !self.is_fresh(now) {
            self.attempts = 0;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.latest = now;
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    fn tool(name: &str) -> ToolName {
        name.parse().unwrap()
    }

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_le_bytes())
    }

    #[test]
    fn a_flood_of_different_asks_resets_no_count() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let (flood, other, t) = (agent("flood"), agent("other"), tool("p.t"));
        for attempt in 1..=5 {
            assert_eq!(attempts.count(&flood, &t, digest(0), now), attempt);
            assert_eq!(attempts.count(&other, &t, digest(0), now), attempt);
        }
        // Twice as many as there is room for, of two tools.
        for number in 1..=MEMORY {
            attempts.count(&flood, &t, digest(number), now);
            attempts.count(&flood, &tool("p.u"), digest(number), now);
        }
        assert_eq!(attempts.count(&flood, &t, digest(0), now), 6);
        assert_eq!(attempts.count(&other, &t, digest(0), now), 6);
        assert_eq!(attempts.agents.get(&flood).unwrap().known, MEMORY);
    }

    #[test]
    fn what_there_is_no_room_for_counts_as_one_ask_of_that_agent() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let (flood, other, t) = (agent("flood"), agent("other"), tool("p.t"));
        for number in 0..MEMORY {
            assert_eq!(attempts.count(&flood, &t, digest(number), now), 1);
        }
        for attempt in 1..=3 {
            let new = digest(MEMORY + usize::try_from(attempt).unwrap());
            assert_eq!(attempts.count(&flood, &t, new, now), attempt);
        }
        // Another has its own room, and what was remembered is.
        assert_eq!(attempts.count(&other, &t, digest(MEMORY + 9), now), 1);
        assert_eq!(attempts.count(&flood, &t, digest(7), now), 2);
    }

    #[test]
    fn what_was_not_asked_for_a_while_begins_anew_and_makes_room() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        let (a, t) = (agent("a"), tool("p.t"));
        for number in 0..=MEMORY {
            attempts.count(&a, &t, digest(number), start);
        }
        let soon = start + WINDOW - Duration::from_secs(1);
        assert_eq!(attempts.count(&a, &t, digest(0), soon), 2);
        let later = start + WINDOW + TIDY;
        assert_eq!(attempts.count(&a, &t, digest(0), later), 3, "still fresh");
        assert_eq!(attempts.count(&a, &t, digest(MEMORY + 1), later), 1);
        assert_eq!(attempts.agents.get(&a).unwrap().known, 2);
        // Who rests is forgotten.
        attempts.count(&agent("b"), &t, digest(0), later + WINDOW);
        assert!(!attempts.agents.contains_key(&a));
    }
}
