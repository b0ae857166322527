//! The service: what calls and people ask of it, and what is left of that after a kill.

use super::*;

#[tokio::test]
async fn asked_answered_and_used_once_in_the_order_of_the_records() {
    let desk = Desk::new();
    let asked = desk.ask(1).await.unwrap();
    assert_eq!(
        desk.ask(2).await.unwrap().id,
        asked.id,
        "identical asks merge"
    );
    assert_eq!(desk.approvals.get(asked.id).unwrap().asks, 2);
    assert_eq!(
        desk.take(asked.id, 2).await.unwrap_err(),
        Reason::ApprovalRequired
    );
    assert_eq!(desk.yes(asked.id).await, Ok(Status::Approved));
    let approved = desk.take(asked.id, 2).await.unwrap();
    assert_eq!(approved.approvers().len(), 1);
    assert_eq!(
        desk.take(asked.id, 2).await.unwrap_err(),
        Reason::ApprovalUsed
    );
    assert_ne!(
        desk.ask(3).await.unwrap().id,
        asked.id,
        "used up: a new ask"
    );
    assert_eq!(
        desk.kinds(),
        [
            "approval-asked",
            "approval-asked",
            "approval-answered",
            "approval-used",
            "approval-asked"
        ]
    );
}

#[tokio::test]
async fn only_whom_policy_lets_may_answer_and_never_the_agents_own_user() {
    let desk = Desk::new();
    let asked = desk.ask(1).await.unwrap();
    let yes = || Answer::Approve { standing: None };
    assert_eq!(
        desk.say(asked.id, "mallory", yes()).await,
        Err(Reason::PolicyDefault)
    );
    assert_eq!(
        desk.say(asked.id, "olga", yes()).await,
        Err(Reason::ApprovalSelf)
    );
    assert_eq!(
        desk.approvals.get(asked.id).unwrap().status,
        Status::Pending
    );
    let no = Answer::Deny {
        why: Some("not today\n".to_owned()),
    };
    assert_eq!(desk.say(asked.id, "ada", no).await, Ok(Status::Denied));
    let refusal = desk.ask(2).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ApprovalDenied);
    assert_eq!(refusal.message, "a person said no: not today\\u000a");
    desk.later(16 * 60);
    assert!(desk.ask(3).await.is_ok(), "a no is not for ever");
    assert_eq!(
        desk.kinds(),
        [
            "approval-asked",
            "approval-answered",
            "approval-answered",
            "approval-answered",
            "approval-asked"
        ],
        "answers that do not count are written down as well"
    );
}

#[tokio::test]
async fn what_was_approved_is_usable_once_after_a_kill_at_any_point() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    let desk = desk.killed().await;
    assert_eq!(desk.ask(2).await.unwrap().id, id, "asked before the kill");
    desk.yes(id).await.unwrap();
    let desk = desk.killed().await;
    let approved = desk.take(id, 2).await.unwrap();
    assert_eq!(approved.id(), id);
    let desk = desk.killed().await;
    assert_eq!(desk.take(id, 2).await.unwrap_err(), Reason::ApprovalUsed);
    let id = desk.ask(3).await.unwrap().id;
    desk.yes(id).await.unwrap();
    desk.later(16 * 60);
    let desk = desk.killed().await;
    assert_eq!(desk.take(id, 3).await.unwrap_err(), Reason::ApprovalExpired);
}

#[tokio::test]
async fn memory_that_is_behind_the_disk_gives_nothing() {
    let desk = Desk::new();
    let asked = desk.ask(1).await.unwrap();
    desk.yes(asked.id).await.unwrap();
    let approved = desk.approvals.get(asked.id).unwrap();
    // As if another process had used it: the row moved on, memory did not.
    let used = approved.taken(call(9), approved.changed).unwrap();
    let state = State::open(&desk.folder.path().join("tollgate.db")).unwrap();
    assert!(state.move_approval((Status::Approved, 0), &used).unwrap());
    assert!(!state.move_approval((Status::Approved, 0), &used).unwrap());
    assert_eq!(
        desk.take(asked.id, 1).await.unwrap_err(),
        Reason::ApprovalUsed
    );
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_nothing() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    desk.yes(id).await.unwrap();
    desk.later(16 * 60);
    assert_eq!(desk.approvals.get(id).unwrap().status, Status::Expired);
    desk.clock.set(1_000_000);
    assert_eq!(desk.take(id, 1).await.unwrap_err(), Reason::ApprovalExpired);
    desk.approvals.sweep().await.unwrap();
    let desk = desk.killed().await;
    assert_eq!(desk.approvals.get(id).unwrap().status, Status::Expired);
    assert_eq!(desk.yes(id).await, Err(Reason::ApprovalExpired));
}

#[tokio::test]
async fn asks_are_capped_and_what_is_refused_asks_nobody() {
    let desk = Desk::new();
    let mut events = desk.approvals.events();
    let other = |number: u128| {
        let mut ask = ask(number, Subject::Call {});
        ask.binding.arguments = Digest::of(&number.to_be_bytes());
        ask
    };
    let mut refused = 0;
    for number in 0..200 {
        match desk.put(other(number)).await {
            Ok(_) => {}
            Err(refusal) => {
                assert_eq!(refusal.reason, Reason::ApprovalRate);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 180);
    assert_eq!(desk.approvals.list(None).len(), 20);
    let mut told = 0;
    while events.try_recv().is_ok() {
        told += 1;
    }
    assert_eq!(told, 20);
    desk.later(61);
    assert!(desk.put(other(500)).await.is_ok());
}

#[tokio::test]
async fn a_request_that_could_not_wait_asks_nobody() {
    let desk = Desk::new();
    let standing = desk.put(ask(1, request())).await.unwrap().id;
    let answer = Answer::Approve {
        standing: Some(Duration::from_secs(3_600)),
    };
    desk.say(standing, "ada", answer).await.unwrap();
    let places: Vec<_> = (0..8)
        .map(|_| desk.approvals.parking_place(&binding().agent).unwrap())
        .collect();
    let mut other = ask(2, request());
    other.binding.arguments = Digest::of(b"other");
    let refusal = desk.put(other.clone()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ApprovalRate);
    assert_eq!(desk.kinds(), ["approval-asked", "approval-answered"]);
    // What people agreed to for longer needs no place.
    assert_eq!(desk.put(ask(2, request())).await.unwrap().id, standing);
    drop(places);
    assert!(desk.put(other).await.is_ok());
}

#[tokio::test]
async fn a_revocation_goes_first() {
    let desk = Desk::new();
    for _ in 0..20 {
        let id = desk.ask(1).await.unwrap().id;
        let by = Approver::for_tests("ada".parse().unwrap());
        let answer = desk
            .approvals
            .answer(id, &by, Answer::Approve { standing: None });
        let (revoked, answered) = tokio::join!(desk.approvals.revoke(id, "the operator"), answer);
        revoked.unwrap();
        drop(answered);
        assert_eq!(desk.approvals.get(id).unwrap().status, Status::Revoked);
        assert_eq!(desk.take(id, 1).await.unwrap_err(), Reason::RevokedApproval);
        desk.later(61);
    }
}

#[tokio::test]
async fn a_standing_approval_is_for_one_target_and_ends() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    let answer = Answer::Approve {
        standing: Some(Duration::from_secs(3_600)),
    };
    desk.say(id, "ada", answer).await.unwrap();
    for number in 1..4 {
        assert_eq!(desk.ask(number).await.unwrap().id, id);
        drop(desk.take(id, number).await.unwrap());
    }
    let mut other = binding();
    other.arguments = Digest::of(b"other");
    let taken = desk
        .approvals
        .take(id, call(1), other, Subject::Call {})
        .await;
    assert_eq!(taken.unwrap_err().reason, Reason::ApprovalArguments);
    let desk = desk.killed().await;
    drop(desk.take(id, 5).await.unwrap());
    desk.later(3_601);
    assert_eq!(desk.take(id, 6).await.unwrap_err(), Reason::ApprovalExpired);
}

#[tokio::test]
async fn a_host_calls_approval_dies_with_the_host() {
    let desk = Desk::new();
    let asked = desk.put(ask(1, request())).await.unwrap();
    let other = desk.put(ask(2, request())).await.unwrap();
    assert_ne!(asked.id, other.id, "each call its own");
    desk.yes(other.id).await.unwrap();
    let desk = desk.killed().await;
    for id in [asked.id, other.id] {
        assert_eq!(desk.approvals.get(id).unwrap().status, Status::Void);
    }
    assert!(
        desk.kinds()
            .ends_with(&["approval-ended", "approval-ended"])
    );
    // At most as long as a call is parked.
    let again = desk.put(ask(3, request())).await.unwrap();
    assert_eq!((again.expires - again.created).as_secs(), 300);
}

#[tokio::test]
async fn what_is_presented_must_be_for_exactly_this() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id.to_string();
    let presented = async |change: &dyn Fn(&mut Binding)| {
        let mut ask = ask(1, Subject::Call {});
        change(&mut ask.binding);
        let found = desk.approvals.presented(&id, &ask).await;
        found.map_err(|r| r.reason).map(drop)
    };
    assert_eq!(presented(&|_| {}).await, Ok(()));
    let arguments = presented(&|b| b.arguments = Digest::of(b"x")).await;
    assert_eq!(arguments, Err(Reason::ApprovalArguments));
    let others: [&dyn Fn(&mut Binding); 6] = [
        &|b| b.agent = AgentId::local("bob").unwrap(),
        &|b| b.user = None,
        &|b| b.tool = "p.u".parse().unwrap(),
        &|b| b.plugin = Digest::of(b"x"),
        &|b| b.deciding = Digest::of(b"x"),
        &|b| b.chain = vec![AgentId::local("c").unwrap()],
    ];
    for change in others {
        assert_eq!(presented(change).await, Err(Reason::ApprovalBinding));
    }
    let ask = ask(1, Subject::Call {});
    for wrong in ["", "approval_aaaaaaaaaaaaaaaa", "task_aaaaaaaaaaaaaaaa"] {
        let refusal = desk.approvals.presented(wrong, &ask).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::ApprovalBinding);
    }
}

#[tokio::test]
async fn who_waits_hears_the_answer_and_who_goes_away_takes_the_ask_along() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    let approvals = desk.approvals.clone();
    let waiting = tokio::spawn(async move { approvals.wait(id, TTL).await });
    desk.yes(id).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status, Status::Approved);
    drop(desk.take(id, 1).await.unwrap());

    let mut events = desk.approvals.events();
    let (asked, gone) = desk.approvals.ask(ask(1, Subject::Call {})).await.unwrap();
    let id = asked.id;
    drop(gone);
    loop {
        if let ApprovalEvent::Ended(ended) = events.recv().await.unwrap() {
            assert_eq!((ended.id, ended.status), (id, Status::Withdrawn));
            break;
        }
    }
    // Others asked for the same: it is no longer one call's to take back.
    let (asked, gone) = desk.approvals.ask(ask(1, Subject::Call {})).await.unwrap();
    assert_eq!(desk.ask(2).await.unwrap().id, asked.id);
    drop(gone);
    tokio::task::yield_now().await;
    assert_eq!(desk.yes(asked.id).await, Ok(Status::Approved));
}

#[tokio::test]
async fn what_someone_agreed_to_goes_with_them() {
    let desk = Desk::new();
    let (ada, bob) = (desk.person("ada"), desk.person("bob"));
    let id = desk.ask(1).await.unwrap().id;
    let answer = Answer::Approve {
        standing: Some(Duration::from_secs(3_600)),
    };
    desk.say(id, "ada", answer).await.unwrap();
    drop(desk.take(id, 1).await.unwrap());
    let time = Duration::from_secs(1_000_000);
    desk.state.remove_person(&ada, time).unwrap();
    let given = desk.approvals.given_by(&ada).await.unwrap();
    assert_eq!(given, [id]);
    desk.approvals.revoke(id, "the operator").await.unwrap();
    assert!(desk.approvals.given_by(&ada).await.unwrap().is_empty());
    assert_eq!(desk.take(id, 2).await.unwrap_err(), Reason::RevokedApproval);

    // An answer that was on its way when the person was removed comes too late.
    let id = desk.ask(2).await.unwrap().id;
    assert_eq!(desk.yes(id).await, Err(Reason::IdentityUnknown));
    let yes = Answer::Approve { standing: None };
    desk.say(id, "bob", yes).await.unwrap();
    // Killed between the removal and what follows from it, the host takes that up at its start.
    desk.state.remove_person(&bob, time).unwrap();
    let desk = desk.killed().await;
    assert_eq!(desk.approvals.get(id).unwrap().status, Status::Revoked);
    assert_eq!(desk.take(id, 3).await.unwrap_err(), Reason::RevokedApproval);
}
