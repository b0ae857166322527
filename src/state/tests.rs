use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::digest::Digest;

fn open() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("tollgate.db")).unwrap();
    (dir, state)
}

fn agent(name: &str, token: &[u8]) -> AgentRecord {
    AgentRecord {
        id: AgentId::local(name).unwrap(),
        token: Digest::of(token),
        created: Duration::from_secs(10),
        expires: Some(Duration::from_secs(100)),
        revoked: None,
    }
}

fn pin(component: &[u8]) -> Pin {
    Pin {
        plugin: "jq".parse().unwrap(),
        component: Digest::of(component),
        description: "{}".into(),
        settings: Digest::of(b""),
        accepted: Duration::from_secs(5),
        accepted_by: AcceptedBy::FirstSeen,
        facts: Some(Facts {
            imports: ["http".to_owned()].into(),
            settings: [("origin".to_owned(), "https://a.example".to_owned())].into(),
            signed: Some(Signed {
                key: "acme".into(),
                version: 7,
            }),
        }),
    }
}

#[test]
fn agents_survive_a_restart() {
    let (dir, state) = open();
    let one = agent("one", b"1");
    state.add_agent(&one).unwrap();
    state
        .revoke_agent(&one.id, Duration::from_secs(20))
        .unwrap();
    // A second revocation does not move the first.
    state
        .revoke_agent(&one.id, Duration::from_secs(30))
        .unwrap();
    let two = agent("two", b"2");
    state.add_agent(&two).unwrap();
    drop(state);
    let state = State::open(&dir.path().join("tollgate.db")).unwrap();
    let found = state.agents();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].revoked, Some(Duration::from_secs(20)));
    assert_eq!(*found[1], two);
    assert_eq!(state.agent_by_token(&Digest::of(b"2")).unwrap().id, two.id);
}

#[test]
fn two_agents_never_share_a_token() {
    let (_dir, state) = open();
    state.add_agent(&agent("one", b"same")).unwrap();
    assert!(matches!(
        state.add_agent(&agent("two", b"same")),
        Err(StateError::TokenShared(_))
    ));
    assert_eq!(state.agents().len(), 1);
    assert!(matches!(
        state.add_agent(&agent("one", b"other")),
        Err(StateError::AgentExists(_))
    ));
}

#[test]
fn a_revoked_agent_can_get_a_new_token_and_the_old_one_is_gone() {
    let (_dir, state) = open();
    let id = agent("one", b"old").id;
    state.add_agent(&agent("one", b"old")).unwrap();
    let changes = state.changes();
    state.revoke_agent(&id, Duration::from_secs(1)).unwrap();
    assert!(changes.has_changed().unwrap());
    state.add_agent(&agent("one", b"new")).unwrap();
    assert!(state.agent_by_token(&Digest::of(b"old")).is_none());
    assert!(state.agent_by_token(&Digest::of(b"new")).is_some());
    assert!(matches!(
        state.revoke_agent(&agent("nobody", b"").id, Duration::ZERO),
        Err(StateError::NoAgent(_))
    ));
}

#[test]
fn the_first_of_a_name_is_pinned_once() {
    let (_dir, state) = open();
    assert!(state.pin_first(&pin(b"one")).unwrap());
    assert!(!state.pin_first(&pin(b"two")).unwrap());
    let name: PluginName = "jq".parse().unwrap();
    assert_eq!(state.pin(&name).unwrap(), Some(pin(b"one")));
    let accepted = Pin {
        accepted_by: AcceptedBy::Operator,
        ..pin(b"two")
    };
    state.set_pin(&accepted).unwrap();
    assert_eq!(state.pins().unwrap(), [accepted]);
    state.remove_pin(&name).unwrap();
    assert!(matches!(state.remove_pin(&name), Err(StateError::NoPin(_))));
    assert_eq!(state.pin(&name).unwrap(), None);
}

#[test]
fn an_edited_pin_is_damage() {
    let (_dir, state) = open();
    state.set_pin(&pin(b"one")).unwrap();
    state
        .lock()
        .execute("UPDATE pins SET description = '{\"x\":1}'", [])
        .unwrap();
    assert!(matches!(state.pins(), Err(StateError::Damaged { .. })));
}

#[test]
fn an_edited_fact_of_a_pin_is_damage_and_an_old_pin_has_none() {
    let (_dir, state) = open();
    state.set_pin(&pin(b"one")).unwrap();
    let edit = |sql: &str| state.lock().execute(sql, []).unwrap();
    edit("UPDATE pins SET facts = replace(facts, '7', '6')");
    assert!(matches!(state.pins(), Err(StateError::Damaged { .. })));
    edit("UPDATE pins SET facts = NULL");
    assert!(matches!(state.pins(), Err(StateError::Damaged { .. })));
    edit("UPDATE pins SET facts_digest = NULL");
    assert_eq!(state.pins().unwrap()[0].facts, None);
}

#[test]
fn its_files_are_for_the_owner_only() {
    let (dir, state) = open();
    state.add_agent(&agent("one", b"1")).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        files += 1;
    }
    assert_eq!(files, 3, "the database and its two side files");
    drop(state);
    let path = dir.path().join("tollgate.db");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(State::open(&path), Err(StateError::File(_))));
}

#[test]
fn a_later_version_and_garbage_are_refused() {
    let (dir, state) = open();
    state
        .lock()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(state);
    let path = dir.path().join("tollgate.db");
    assert!(matches!(
        State::open(&path),
        Err(StateError::Newer { found: 99, .. })
    ));
    let garbage = dir.path().join("garbage.db");
    private::replace(&garbage, &[b'x'; 4096]).unwrap();
    assert!(matches!(
        State::open(&garbage),
        Err(StateError::Database { .. })
    ));
}

#[test]
fn the_disk_is_waited_for() {
    let (_dir, state) = open();
    let connection = state.lock();
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |r| r.get(0))
        .unwrap();
    let synchronous: i64 = connection
        .pragma_query_value(None, "synchronous", |r| r.get(0))
        .unwrap();
    assert_eq!((mode.as_str(), synchronous), ("wal", 2));
}

#[test]
fn a_revocation_that_could_not_be_kept_is_in_force_until_it_is_lifted() {
    use crate::revocation::Scope;
    let (_dir, state) = open();
    let one = Scope::Agent(agent("one", b"").id);
    state.distrust(&one);
    state.distrust(&Scope::All);
    // Whatever else changes takes in what the database has; that has neither.
    state.add_agent(&agent("two", b"2")).unwrap();
    let plugin = Scope::Plugin("jq".parse().unwrap());
    state.revoke(&plugin, "test", Duration::ZERO).unwrap();
    state.lift(&plugin).unwrap();
    assert!(state.is_revoked(&one) && state.is_revoked(&Scope::All));
    assert!(!state.is_revoked(&plugin));
    state.lift(&Scope::All).unwrap();
    assert!(!state.is_revoked(&Scope::All));
    // A new token gives the agent back.
    state.add_agent(&agent("one", b"1")).unwrap();
    assert!(!state.is_revoked(&one));
}
