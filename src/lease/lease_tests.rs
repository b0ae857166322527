//! The state machine against what must never happen, for any order of events.

use proptest::prelude::*;

use super::*;
use crate::entropy::SeededEntropy;

pub(in crate::lease) fn wanted(revocable: bool) -> Lease {
    let call = CallId(uuid::Uuid::from_u128(7));
    Lease {
        id: LeaseId::generate(&SeededEntropy::default()).unwrap(),
        holder: Holder::Call(call),
        call,
        task: None,
        agent: AgentId::local("alice").unwrap(),
        plugin: "github".parse().unwrap(),
        secret: "token".into(),
        source: "vault".into(),
        origin: "https://api.example".into(),
        scheme: "bearer".into(),
        revocable,
        durable: revocable,
        bond: None,
        expires: Some(secs(900)),
        uses: 0,
        most_uses: None,
        handle: None,
        fault: None,
        stage: Stage::Wanted { ended: false },
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[derive(Debug, Clone)]
enum Event {
    /// Issued, for so many seconds from now.
    Issued(u64),
    NotIssued(bool),
    Take,
    End,
    /// The host died and starts again.
    Restart,
    Revoked,
    Failed,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_u64..2_000).prop_map(Event::Issued),
        any::<bool>().prop_map(Event::NotIssued),
        Just(Event::Take),
        Just(Event::End),
        Just(Event::Restart),
        Just(Event::Revoked),
        Just(Event::Failed),
        (0_u64..1_000).prop_map(Event::Wait),
    ]
}

proptest! {
    /// A model of the source beside it: what it made is alive until revoked or past its time.
    #[test]
    fn what_may_be_alive_is_never_forgotten(
        revocable: bool,
        most_uses in proptest::option::of(0_u32..4),
        events in proptest::collection::vec(event(), 0..40),
    ) {
        let mut lease = wanted(revocable);
        lease.most_uses = most_uses;
        let mut now = Duration::ZERO;
        // Until when it is alive at its source, if it may be.
        let mut alive: Option<Duration> = None;
        let (mut ended, mut taken, mut made) = (false, 0, false);
        for event in events {
            let before = lease.stage;
            match event {
                Event::Issued(seconds) if !made && matches!(lease.stage, Stage::Wanted { .. }) => {
                    made = true;
                    let until = now + secs(seconds);
                    alive = Some(until);
                    lease.issued(Some(Handle(String::from("h").into())), Some(until), now);
                }
                Event::NotIssued(arrived) if !made && matches!(lease.stage, Stage::Wanted { .. }) => {
                    made = true;
                    if arrived {
                        alive = lease.expires;
                    }
                    lease.not_issued(arrived, now);
                }
                Event::Issued(_) | Event::NotIssued(_) => {}
                Event::Take => {
                    let took = lease.take(now).is_ok();
                    prop_assert!(!took || (before == Stage::Live && !ended));
                    prop_assert!(!took || alive.is_some_and(|until| now < until));
                    taken += u32::from(took);
                }
                Event::End => {
                    lease.end(now);
                    ended = true;
                }
                Event::Restart => {
                    if !made && matches!(lease.stage, Stage::Wanted { .. }) {
                        // Asked for, and nobody remembers what came of it.
                        made = true;
                        alive = lease.expires;
                    }
                    lease.recover(now);
                    ended = true;
                }
                Event::Revoked if lease.is_pending() => {
                    alive = None;
                    lease.revoked();
                }
                Event::Revoked => {}
                Event::Failed => lease.revoking_failed("503".into(), now),
                Event::Wait(seconds) => now += secs(seconds),
            }
            lease.lapse(now);
            if let Some(most) = most_uses {
                prop_assert!(taken <= most);
            }
            prop_assert_eq!(lease.uses, taken);
            // Nothing leaves the end.
            if let Stage::Over(_) = before {
                prop_assert_eq!(lease.stage, before);
            }
            let may_live = alive.is_some_and(|until| now < until);
            match lease.stage {
                Stage::Over(Over::Left) => prop_assert!(!revocable),
                Stage::Over(Over::Unissued) => prop_assert!(!may_live || !revocable),
                Stage::Over(Over::Revoked | Over::Lapsed) => prop_assert!(!may_live),
                Stage::Wanted { .. } | Stage::Live | Stage::Pending { .. } => {}
            }
            // Once its holder ended it is no longer lent.
            if ended && made {
                prop_assert!(lease.stage != Stage::Live);
            }
            if let Stage::Pending { due, .. } = lease.stage {
                prop_assert!(due <= now + LONGEST_WAIT);
            }
        }
    }
}

#[test]
fn one_that_was_issued_after_its_call_ended_is_taken_back() {
    let mut lease = wanted(true);
    assert!(lease.end(secs(1)));
    assert!(!lease.end(secs(1)));
    lease.issued(None, Some(secs(60)), secs(2));
    assert!(lease.is_pending());
    assert_eq!(
        lease.take(secs(2)).unwrap_err().reason,
        Reason::RevokedLease
    );
}

#[test]
fn waits_double_up_to_a_minute() {
    let mut lease = wanted(true);
    lease.issued(None, None, secs(0));
    lease.end(secs(0));
    let mut waits = Vec::new();
    for _ in 0..9 {
        lease.revoking_failed("503".into(), secs(0));
        if let Stage::Pending { due, .. } = lease.stage {
            waits.push(due.as_millis());
        }
    }
    assert_eq!(
        waits,
        [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000
        ]
    );
}

#[test]
fn what_can_be_taken_back_is_asked_for_once_whatever_the_clock_says() {
    let mut lease = wanted(true);
    lease.issued(
        Some(Handle(String::from("h").into())),
        Some(secs(60)),
        secs(0),
    );
    lease.end(secs(0));
    lease.lapse(secs(5_000));
    assert!(lease.is_pending());
    lease.revoking_failed("503".into(), secs(0));
    lease.lapse(secs(89));
    assert!(lease.is_pending());
    lease.lapse(secs(90));
    assert_eq!(lease.stage, Stage::Over(Over::Lapsed));
}

#[test]
fn a_static_value_is_typed_as_one_that_stays_alive() {
    let mut lease = wanted(false);
    lease.issued(None, None, secs(0));
    lease.take(secs(1)).unwrap();
    assert!(lease.end(secs(2)));
    assert_eq!(lease.stage.name(), "left");
}
