//! How often and how many: retries are counted, storms are stopped, and everyone gets a place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::rate::Rates;
use crate::digest::Digest;
use crate::identity::AgentId;
use crate::limits::{CallLimits, Concurrency, reached};
use crate::name::ToolName;
use crate::plugin::Plugin;
use crate::reason::{Reason, Refusal};

/// Failures that are further apart are not in a row.
const WINDOW: Duration = Duration::from_secs(600);
/// What is remembered before that which says nothing any more is forgotten, and only that.
const MEMORY: usize = 10_000;

/// Tokens that an agent may ask for within a minute: a step token is for one call, and no agent makes
/// ten of these a second for long. Each leaves a record, so that without a bound one could fill the disk.
const TOKENS: u32 = 600;
/// The span over which these are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Counts attempts, and breaks the circuit of one who only fails.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    inner: Mutex<Inner>,
    /// How often each agent asks for anything at all.
    pub(crate) rates: Rates,
}

#[derive(Debug, Default)]
struct Inner {
    attempts: Attempts,
    circuits: HashMap<(AgentId, ToolName), Circuit>,
    /// Tokens that each agent asked for, since when.
    tokens: HashMap<AgentId, (u32, Instant)>,
}

#[derive(Debug)]
struct Circuit {
    failures: u64,
    /// How many there may be, as of the last one.
    allowed: u64,
    open_until: Option<Instant>,
    touched: Instant,
}

impl Pace {
    /// Counts one ask.
    ///
    /// # Errors
    ///
    /// `limit.breaker` while the circuit of this agent and tool is open.
    pub(super) fn attempt(
        &self,
        agent: &AgentId,
        tool: &ToolName,
        arguments: Digest,
    ) -> Result<u32, Refusal> {
        let now = Instant::now();
        let mut inner = self.lock();
        if let Some(circuit) = inner.circuits.get(&(agent.clone(), tool.clone()))
            && let Some(until) = circuit.open_until
            && let Some(left) = until.checked_duration_since(now)
            && !left.is_zero()
        {
            let said = reached("failures", circuit.failures, circuit.allowed, "");
            return Err(Refusal::new(
                Reason::LimitBreaker,
                format!(
                    "{said} calls of this tool in a row failed or were refused; wait {} s",
                    left.as_secs() + 1
                ),
            ));
        }
        Ok(inner.attempts.count(agent, tool, arguments, now))
    }

    /// Counts a token that `agent` asks for.
    ///
    /// # Errors
    ///
    /// `limit.tokens`: too many within a minute.
    pub(crate) fn mint(&self, agent: &AgentId) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut inner = self.lock();
        if inner.tokens.len() >= MEMORY {
            inner
                .tokens
                .retain(|_, (_, since)| now.duration_since(*since) < MINUTE);
        }
        let (count, since) = inner.tokens.entry(agent.clone()).or_insert((0, now));
        if now.duration_since(*since) >= MINUTE {
            (*count, *since) = (0, now);
        }
        if *count >= TOKENS {
            return Err(Refusal::new(
                Reason::LimitTokens,
                format!("more than {TOKENS} tokens within a minute; wait"),
            ));
        }
        *count += 1;
        Ok(())
    }

    /// Notes that a call of this agent and tool ended well.
    pub(super) fn succeeded(&self, agent: &AgentId, tool: &ToolName) {
        let key = (agent.clone(), tool.clone());
        self.lock().circuits.remove(&key);
    }

    /// Notes that a call of this agent and tool failed, or was refused.
    pub(super) fn failed(&self, agent: &AgentId, tool: &ToolName, limits: &CallLimits) {
        let now = Instant::now();
        let mut inner = self.lock();
        let key = (agent.clone(), tool.clone());
        if inner.circuits.len() >= MEMORY {
            // One that is open stays, however long the operator has it wait.
            inner.circuits.retain(|_, circuit| {
                now.duration_since(circuit.touched) < WINDOW
                    || circuit.open_until.is_some_and(|until| until > now)
            });
        }
        let circuit = inner.circuits.entry(key).or_insert(Circuit {
            failures: 0,
            allowed: 0,
            open_until: None,
            touched: now,
        });
        if now.duration_since(circuit.touched) >= WINDOW {
            circuit.failures = 0;
        }
        circuit.failures = circuit.failures.saturating_add(1);
        circuit.allowed = limits.failures;
        circuit.touched = now;
        if circuit.failures >= limits.failures {
            circuit.open_until = now.checked_add(limits.pause);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places for calls: of the host, of each agent; each plugin has its own.
#[derive(Debug)]
pub(crate) struct Places {
    limits: Concurrency,
    host: Arc<Semaphore>,
    agents: Mutex<HashMap<AgentId, Arc<Semaphore>>>,
}

/// The places that a call holds while it runs.
#[derive(Debug)]
pub(super) struct Held {
    _all: [OwnedSemaphorePermit; 3],
}

impl Places {
    pub(crate) fn new(limits: Concurrency) -> Self {
        Self {
            limits,
            host: Arc::new(Semaphore::new(limits.host)),
            agents: Mutex::default(),
        }
    }

    /// Waits for a place of the agent, of the plugin and of the host.
    ///
    /// In this order: one who waits for its own turn must not hold what others could use.
    ///
    /// # Errors
    ///
    /// `limit.concurrency` says whose places are taken; `call.cancelled`.
    pub(super) async fn take(
        &self,
        agent: &AgentId,
        plugin: &Plugin,
        cancel: &CancellationToken,
    ) -> Result<Held, Refusal> {
        let own = self.of(agent);
        let queues = [
            (own, "concurrency.agent", "this agent's", self.limits.agent),
            (
                Arc::clone(&plugin.places),
                "concurrency.plugin",
                "this plugin's",
                plugin.places_total,
            ),
            (
                Arc::clone(&self.host),
                "concurrency.host",
                "the host's",
                self.limits.host,
            ),
        ];
        let give_up = tokio::time::sleep(self.limits.wait);
        tokio::pin!(give_up);
        let mut held = Vec::with_capacity(queues.len());
        for (queue, limit, whose, of) in queues {
            // Mostly there is a place, and no timer is needed.
            if let Ok(place) = Arc::clone(&queue).try_acquire_owned() {
                held.push(place);
                continue;
            }
            tokio::select! {
                place = queue.acquire_owned() => held.extend(place),
                () = cancel.cancelled() => {
                    return Err(Refusal::new(Reason::CallCancelled, "the call was cancelled while it waited"));
                }
                () = &mut give_up => {
                    return Err(Refusal::new(
                        Reason::LimitConcurrency,
                        format!(
                            "{}: all of {whose} {of} places are taken; try again",
                            reached(limit, of, of, "")
                        ),
                    ));
                }
            }
        }
        let all = held
            .try_into()
            .map_err(|_| Refusal::new(Reason::HostInternal, "a queue for places is closed"))?;
        Ok(Held { _all: all })
    }

    fn of(&self, agent: &AgentId) -> Arc<Semaphore> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = agents.get(agent) {
            return Arc::clone(own);
        }
        let own = Arc::new(Semaphore::new(self.limits.agent));
        agents.insert(agent.clone(), Arc::clone(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (AgentId, ToolName) {
        ("a".parse().unwrap(), "p.t".parse().unwrap())
    }

    #[test]
    fn identical_asks_are_counted() {
        let (agent, tool) = names();
        let pace = Pace::default();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(pace.attempt(&agent, &tool, one).unwrap(), 1);
        assert_eq!(pace.attempt(&agent, &tool, one).unwrap(), 2);
        assert_eq!(pace.attempt(&agent, &tool, two).unwrap(), 1);
    }

    #[test]
    fn one_who_only_fails_must_wait_and_others_need_not() {
        let (agent, tool) = names();
        let pace = Pace::default();
        let limits = CallLimits {
            failures: 3,
            ..CallLimits::default()
        };
        for _ in 0..limits.failures {
            assert!(pace.attempt(&agent, &tool, Digest::of(b"")).is_ok());
            pace.failed(&agent, &tool, &limits);
        }
        let refusal = pace.attempt(&agent, &tool, Digest::of(b"")).unwrap_err();
        assert_eq!(refusal.reason, Reason::LimitBreaker);
        let other = "b".parse().unwrap();
        assert!(pace.attempt(&other, &tool, Digest::of(b"")).is_ok());
    }

    #[test]
    fn one_who_asks_for_tokens_without_end_must_wait_and_others_need_not() {
        let (agent, _) = names();
        let pace = Pace::default();
        for _ in 0..TOKENS {
            assert!(pace.mint(&agent).is_ok());
        }
        let refusal = pace.mint(&agent).unwrap_err();
        assert_eq!(refusal.reason, Reason::LimitTokens);
        assert!(pace.mint(&"b".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_success_closes_the_circuit() {
        let (agent, tool) = names();
        let pace = Pace::default();
        let limits = CallLimits::default();
        for _ in 1..limits.failures {
            pace.failed(&agent, &tool, &limits);
        }
        pace.succeeded(&agent, &tool);
        pace.failed(&agent, &tool, &limits);
        assert!(pace.attempt(&agent, &tool, Digest::of(b"")).is_ok());
    }
}
