//! The state machine: whatever is done to an approval, in whatever order.

use proptest::prelude::*;

use super::*;
use crate::approval::binding::key;
use crate::approval::machine::End;

#[derive(Debug, Clone)]
enum Move {
    Answer(usize, bool, Option<u64>),
    Take(u128),
    End(usize),
    Pass(u64),
}

const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..3usize, prop::bool::weighted(0.8), prop::option::weighted(0.3, 1..2_000u64))
            .prop_map(|(person, approve, standing)| Move::Answer(person, approve, standing)),
        3 => (1..4u128).prop_map(Move::Take),
        1 => (0..4usize).prop_map(Move::End),
        2 => (0..600u64).prop_map(Move::Pass),
    ];
    prop::collection::vec(one, 1..30)
}

const ENDS: [End; 4] = [End::Expired, End::Withdrawn, End::Revoked, End::Void];

proptest! {
    /// Whatever is done to it, in whatever order: nobody gets what was not given, and nothing twice.
    #[test]
    fn nothing_is_given_that_people_did_not_give(
        moves in moves(),
        needed in 1..4u32,
        named in prop::option::of(0..3usize),
        host_call: bool,
    ) {
        let subject = if host_call { request() } else { Subject::Call {} };
        let named = named.map(|i| PEOPLE[i]);
        let one = named.map(|name| [name]);
        let enough: Vec<&[&str]> = one.iter().map(|set| set.as_slice()).collect();
        let mut now = Duration::ZERO;
        let mut approval = pending(subject, needed, &enough);
        let mut yes: BTreeSet<&str> = BTreeSet::new();
        let mut takes = 0_u32;
        for step in moves {
            let before = approval.clone();
            let after = match step {
                Move::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    continue;
                }
                Move::Answer(person, approve, standing) => {
                    let after = approval.answered(given(PEOPLE[person], approve, standing), TTL, now);
                    if after.is_ok() && approve {
                        yes.insert(PEOPLE[person]);
                    }
                    after
                }
                Move::Take(by) => {
                    let after = approval.taken(call(by), now);
                    if after.is_ok() {
                        takes += 1;
                        prop_assert!(yes.len() >= needed as usize);
                        prop_assert!(named.is_none_or(|name| yes.contains(name)));
                        prop_assert!(now < before.expires);
                        prop_assert_eq!(before.status, Status::Approved);
                        prop_assert!(takes == 1 || before.standing.is_some());
                        prop_assert!(!host_call || by == 1 || before.standing.is_some());
                    }
                    after
                }
                Move::End(end) => approval.ended(ENDS[end], None, now),
            };
            match after {
                Ok(after) => {
                    prop_assert!(before.status.is_live(), "{:?} is final", before.status);
                    prop_assert_eq!(&after.binding, &before.binding);
                    prop_assert_eq!(&after.subject, &before.subject);
                    prop_assert_eq!(after.id, before.id);
                    // What stands for long was asked for by each of those who agreed.
                    if after.standing.is_some() {
                        prop_assert!(after.answers.iter().all(|g| !g.approve || g.standing.is_some()));
                    }
                    approval = after;
                }
                Err(refusal) => prop_assert_ne!(refusal.reason, Reason::HostInternal),
            }
            prop_assert_eq!(approval.uses, takes);
            let kept: Approval = serde_json::from_str(&serde_json::to_string(&approval).unwrap()).unwrap();
            prop_assert_eq!(&kept, &approval);
        }
    }
}

#[test]
fn two_must_be_two() {
    let one = pending(Subject::Call {}, 2, &[])
        .answered(given("ada", true, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!((one.status, one.missing()), (Status::Pending, 1));
    let again = one
        .answered(given("ada", true, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!(again.status, Status::Pending, "one person is one");
    let two = again
        .answered(given("bob", true, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!(two.status, Status::Approved);
    let no = one
        .answered(given("ada", false, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!(no.status, Status::Denied, "a no outweighs an own yes");
}

#[test]
fn asks_for_host_calls_are_their_calls_own() {
    let (binding, subject) = (binding(), request());
    assert_ne!(
        key(&binding, &subject, Some(call(1))),
        key(&binding, &subject, Some(call(2)))
    );
    let approved = pending(request(), 1, &[])
        .answered(given("ada", true, None), TTL, Duration::ZERO)
        .unwrap();
    let refusal = approved.taken(call(2), Duration::ZERO).unwrap_err();
    assert_eq!(refusal.reason, Reason::ApprovalBinding);
    assert!(approved.taken(call(1), Duration::ZERO).is_ok());
}
