//! How long approvals live, and how many are asked for.

use std::time::Duration;

/// `[approvals]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long an ask waits for its answer, and an approval for its use.
    pub ttl: Duration,
    /// How long a held call waits before `approval_required` is answered.
    pub wait: Duration,
    /// How long a held host call waits at most; zero: not at all.
    pub park: Duration,
    /// Asks of one agent within a minute. Identical ones count once.
    pub per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Long enough to fetch a colleague, short enough that who approves still knows why.
            ttl: Duration::from_secs(15 * 60),
            // Clients mostly give up after a minute; an answer at once tells them what to do.
            wait: Duration::ZERO,
            // A parked call holds a place and an instance, and an upstream session may not last.
            park: Duration::from_secs(5 * 60),
            // A person reads one in three seconds at best; more are not read but clicked away.
            per_minute: 20,
        }
    }
}

/// Asks of one agent that wait for an answer at once: as many as a person could look through.
pub(super) const MAX_PENDING: usize = 64;
/// Host calls of one agent that wait at once. Each keeps a place of its agent, plugin and host.
pub(super) const MAX_PARKED: usize = 8;
/// Asks of all agents.
pub(super) const MAX_PENDING_OF_ALL: usize = 1_024;
/// The longest life of a standing approval; a longer one is a policy.
pub(super) const MAX_STANDING: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long approvals that ended are kept to be looked at; the journal has them for good.
pub(super) const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// And how many.
pub(super) const KEPT_COUNT: usize = 1_000;
/// Letters of a reason that a person gives.
pub(super) const MAX_WHY: usize = 500;
