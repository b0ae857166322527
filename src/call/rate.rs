//! How often one agent may ask, whatever it asks for and however it comes.
//!
//! A bucket for each agent: what it did not use for a while it may use at once, up to a bound. It is asked
//! before a request is read, so that one that asks without end costs little, and is no reason to write a
//! record each time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::identity::AgentId;
use crate::limits::Rate;

/// Agents that are remembered before those that rest are forgotten.
const MEMORY: usize = 10_000;

/// The agents whose buckets are not full.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<AgentId, Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When it is full again.
    full_at: Instant,
    /// What it was reckoned by: where the operator changes that, the agent begins anew.
    rate: Rate,
}

impl Rates {
    /// Counts a request of `agent` now.
    ///
    /// # Errors
    ///
    /// It asked too often; after this time it may ask again.
    pub(crate) fn ask(&self, agent: &AgentId, rate: Rate, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / rate.per_second.max(1);
        let most = each.saturating_mul(rate.burst.max(1));
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(agent).filter(|bucket| bucket.rate == rate) {
            let then = bucket.full_at.max(now) + each;
            // The bucket lacks this much once it has given one more.
            let lacks = then.saturating_duration_since(now);
            if lacks > most {
                return Err(lacks - most);
            }
            bucket.full_at = then;
            return Ok(());
        }
        if buckets.len() >= MEMORY {
            buckets.retain(|_, bucket| bucket.full_at > now);
        }
        let full_at = now + each;
        buckets.insert(agent.clone(), Bucket { full_at, rate });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 3,
    };

    fn agent(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    #[test]
    fn a_burst_is_taken_and_then_one_at_a_time() {
        let (rates, start) = (Rates::default(), Instant::now());
        let ask = |millis: u64| rates.ask(&agent("a"), RATE, start + Duration::from_millis(millis));
        for _ in 0..3 {
            assert_eq!(ask(0), Ok(()));
        }
        assert_eq!(ask(0), Err(Duration::from_millis(100)));
        assert_eq!(ask(99), Err(Duration::from_millis(1)));
        assert_eq!(ask(100), Ok(()));
        assert_eq!(ask(100), Err(Duration::from_millis(100)));
        // What was refused was not counted; what was not used is there again, up to the bound.
        for _ in 0..3 {
            assert_eq!(ask(10_000), Ok(()));
        }
        assert!(ask(10_000).is_err());
        assert_eq!(
            rates.ask(&agent("b"), RATE, start),
            Ok(()),
            "another's is its own"
        );
    }

    #[test]
    fn another_rate_is_another_bucket() {
        let (rates, now) = (Rates::default(), Instant::now());
        let slow = Rate {
            per_second: 1,
            burst: 1,
        };
        rates.ask(&agent("a"), slow, now).unwrap();
        assert_eq!(
            rates.ask(&agent("a"), slow, now),
            Err(Duration::from_secs(1))
        );
        for _ in 0..3 {
            assert_eq!(rates.ask(&agent("a"), RATE, now), Ok(()));
        }
        assert!(rates.ask(&agent("a"), RATE, now).is_err());
    }

    #[test]
    fn whoever_rests_is_forgotten_and_whoever_does_not_is_not() {
        let (rates, start) = (Rates::default(), Instant::now());
        let busy = agent("busy");
        for number in 0..MEMORY - 1 {
            rates
                .ask(&agent(&format!("a{number}")), RATE, start)
                .unwrap();
        }
        let later = start + Duration::from_secs(1);
        for _ in 0..3 {
            rates.ask(&busy, RATE, later).unwrap();
        }
        rates.ask(&agent("new"), RATE, later).unwrap();
        assert_eq!(rates.0.lock().unwrap().len(), 2);
        assert!(rates.ask(&busy, RATE, later).is_err());
    }

    proptest! {
        /// Whenever it asks, in no stretch of time it gets more than the burst and what that time gives.
        #[test]
        fn nobody_gets_more_than_the_rate(
            per_second in 1_u32..50,
            burst in 1_u32..20,
            pauses in prop::collection::vec(0_u64..400, 1..200),
        ) {
            let rate = Rate { per_second, burst };
            let (rates, start) = (Rates::default(), Instant::now());
            let (mut at, mut got) = (0_u64, Vec::new());
            for pause in pauses {
                at += pause;
                if rates.ask(&agent("a"), rate, start + Duration::from_millis(at)).is_ok() {
                    got.push(at);
                }
            }
            for (first, from) in got.iter().enumerate() {
                for (last, to) in got.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) * u64::from(per_second) / 1_000 + 1;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
