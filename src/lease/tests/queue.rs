//! Taking back: what is down is tried again, and what a host left is found by the next.

use super::*;

#[tokio::test]
async fn j10_a_backend_that_is_down_is_tried_again_and_too_many_stop_lending() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 2);
    for call in 1..=2 {
        bench.lend(call, None).await.unwrap();
    }
    bench.server.is_down.store(true, Ordering::SeqCst);
    let _ended = bench.leases.end_call(id(1));
    let _ended = bench.leases.end_call(id(2));
    let tried = |pending: &[LeaseReport]| {
        pending.len() == 2 && pending.iter().all(|lease| lease.attempts >= 5)
    };
    bench.until(tried).await;
    let pending = bench.leases.pending();
    assert_eq!(pending[0].fault.as_deref(), Some("status 503"));
    let refusal = bench.lend(3, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseBacklog);
    assert_eq!(bench.server.alive(), 2, "none was made");
    bench.server.is_down.store(false, Ordering::SeqCst);
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
    bench.lend(3, None).await.unwrap();
}

#[tokio::test]
async fn one_that_is_not_answered_keeps_no_other_waiting() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    for call in 1..=3 {
        bench.lend(call, None).await.unwrap();
    }
    bench.server.stuck.lock().unwrap().insert("lease-0".into());
    let _ended = bench.leases.end_call(id(1));
    bench
        .until(|_| bench.server.asked_to_revoke.load(Ordering::SeqCst) == 1)
        .await;
    for call in 2..=3 {
        let _ended = bench.leases.end_call(id(call));
    }
    bench.until(|pending| pending.len() == 1).await;
    let alive = bench.server.alive.lock().unwrap().clone();
    assert_eq!(Vec::from_iter(alive), ["lease-0"]);
    assert_eq!(bench.server.asked_to_revoke.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn j09_a_host_that_dies_takes_back_at_its_next_start() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    bench.server.is_down.store(true, Ordering::SeqCst);
    bench.lend(2, None).await.unwrap();
    let _ended = bench.leases.end_call(id(2));
    bench
        .until(|pending| pending.len() == 1 && pending[0].attempts > 1)
        .await;
    let bench = bench.restart().await;
    assert_eq!(bench.leases.pending().len(), 2);
    bench
        .until(|pending| pending.iter().all(|lease| lease.attempts > 0))
        .await;
    assert_eq!(bench.server.alive(), 2);
    bench.server.is_down.store(false, Ordering::SeqCst);
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
}

#[tokio::test]
async fn what_hangs_on_a_bond_goes_with_it_also_where_nobody_knows_of_it() {
    let bench = Bench::new(Server::with_bonds(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    bench.server.loses_answers.store(true, Ordering::SeqCst);
    let refusal = bench.lend_as(1, None, "header:a").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SecretUnavailable);
    assert_eq!(bench.server.alive(), 3, "the bond, and two under it");
    let _ended = bench.leases.end_call(id(1));
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
}

#[tokio::test]
async fn a_restart_takes_back_by_the_bond_what_was_only_asked_for() {
    let bench = Bench::new(Server::with_bonds(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    // As if the host died between the server's answer and writing it.
    let state = bench.leases.0.parts.state.clone();
    let mut row = state
        .open_leases()
        .unwrap()
        .into_iter()
        .find(|row| row.lease.bond.is_some())
        .unwrap();
    row.lease.stage = Stage::Wanted { ended: false };
    row.handle = None;
    state.keep_leases(&[row]).unwrap();
    let bench = bench.restart().await;
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
}
