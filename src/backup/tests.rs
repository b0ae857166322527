use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::files::{Until, copy, is_known};
use super::*;
use crate::clock::{SharedClock, SystemClock};
use crate::digest::Digest;
use crate::home::Home;
use crate::identity::AgentId;
use crate::journal::record::{Changed, Event};
use crate::journal::storage::{Disk, Storage as _};
use crate::journal::{self, Journal};
use crate::private;
use crate::revocation::Scope;
use crate::state::{AgentRecord, State};

const NOW: Duration = Duration::from_secs(1_795_305_600);

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A home that a host has served: an agent, a journal of three records, keys, a tape.
async fn served(folder: &Path) -> Home {
    let home = Home::at(folder).unwrap();
    home.create().unwrap();
    let state = State::open(&home.database()).unwrap();
    state
        .add_agent(&AgentRecord {
            id: AgentId::local("alice").unwrap(),
            token: Digest::of(b"token"),
            created: NOW,
            expires: None,
            revoked: None,
        })
        .unwrap();
    let (journal, _) = Journal::open(home.journal(), journal::Options::new(clock())).unwrap();
    for subject in ["one", "two", "three"] {
        journal
            .append(&Event::Changed(Changed {
                change: "agent.added".into(),
                subject: Some(subject.into()),
                ..Changed::default()
            }))
            .unwrap();
    }
    journal.close().await.unwrap();
    for key in ["secrets", "steps", "tapes", "artifacts"] {
        let path = home.keys().join(format!("{key}.key"));
        private::replace(&path, key.as_bytes()).unwrap();
    }
    private::replace(&home.secrets(), b"sealed").unwrap();
    private::make_folder(&home.tapes()).unwrap();
    private::replace(&home.tapes().join(format!("{TAPE}.tape")), b"tape").unwrap();
    private::replace(&home.tapes().join("note.txt"), b"not a tape").unwrap();
    home
}

const TAPE: &str = "019aab00-0000-7000-8000-000000000001";

fn names(manifest: &Manifest) -> Vec<&str> {
    manifest
        .files
        .iter()
        .map(|entry| entry.name.as_str())
        .collect()
}

#[test]
fn no_name_leads_out_of_a_backup_and_no_signing_key_is_in_one() {
    for name in [
        "tollgate.db",
        "secrets.store",
        "keys/secrets.key",
        "journal/00000000000000000001.jsonl",
        "journal/00000000000000000001.jsonl.gz",
        "journal/00000000000000000001.checkpoints",
        "journal/log.pub",
        "journals/20261122T000000Z/00000000000000000001.hashes",
        "tapes/019aab00-0000-7000-8000-000000000001.tape",
    ] {
        assert!(is_known(name), "{name}");
    }
    for name in [
        "",
        "/etc/passwd",
        "../tollgate.db",
        "journal",
        "journal/",
        "journal/key",
        "journal/key.next",
        "journal/lock",
        "journal/making",
        "journal/../../x.jsonl",
        "journal/00000000000000000001.jsonl/x",
        "journal/1.jsonl",
        "journals/../00000000000000000001.jsonl",
        "journals/20261122T000000Z/key",
        "keys/artifacts.key",
        "keys/steps.key",
        "keys/../x",
        "tapes/x.tape",
        "tapes/019AAB00-0000-7000-8000-000000000001.tape",
        "tapes/../tollgate.db",
        "artifacts/x.cwasm",
    ] {
        assert!(!is_known(name), "{name}");
    }
}

#[test]
fn what_is_being_written_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    let mut number = 0;
    let mut copied = |bytes: &[u8], until: Until| {
        number += 1;
        std::fs::write(&from, bytes).unwrap();
        let to = folder.path().join(format!("to-{number}"));
        let (size, digest) = copy(&from, &to, until).unwrap();
        let bytes = std::fs::read(&to).unwrap();
        assert_eq!((size, digest), (bytes.len() as u64, Digest::of(&bytes)));
        bytes
    };
    assert_eq!(copied(b"one\ntwo\nthr", Until::Line), b"one\ntwo\n");
    assert_eq!(copied(b"one\ntwo\nthr", Until::End), b"one\ntwo\nthr");
    assert_eq!(copied(b"thr", Until::Line), b"");
    assert_eq!(copied(b"", Until::Line), b"");
    let note = "origin\n3\nroot\n\n\u{2014} origin c2ln\n\n";
    let two = format!("{note}{note}");
    assert_eq!(copied(two.as_bytes(), Until::Note), two.as_bytes());
    for cut in 1..note.len() {
        let torn = &two.as_bytes()[..two.len() - cut];
        assert_eq!(copied(torn, Until::Note), note.as_bytes(), "{cut}");
    }
    // The end is looked for piece by piece.
    let long = [note.as_bytes(), &vec![b'x'; 600 << 10]].concat();
    assert_eq!(copied(&long, Until::Note), note.as_bytes());
    for before in (520 << 10)..(520 << 10) + 3 {
        let long = [vec![b'x'; before], b"\nlast".to_vec()].concat();
        assert_eq!(copied(&long, Until::Line).len(), before + 1);
    }
}

#[tokio::test]
async fn a_backup_has_what_is_kept_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let home = served(&folder.path().join("home")).await;
    let to = folder.path().join("backup");
    let manifest = take(&home, &to, false, NOW).unwrap();
    assert_eq!(Manifest::read(&to).unwrap().0, manifest);
    assert_eq!(manifest.time, "2026-11-22T00:00:00.000Z");
    assert!(!manifest.keys);
    let found = names(&manifest);
    assert!(found.contains(&"tollgate.db") && found.contains(&"secrets.store"));
    assert!(found.contains(&format!("tapes/{TAPE}.tape").as_str()));
    assert!(found.contains(&"journal/00000000000000000001.jsonl"));
    let no_key = |name: &&str| !name.contains("key") && !name.contains("note.txt");
    assert!(found.iter().all(no_key), "{found:?}");
    assert!(!to.join("keys").exists());
    for entry in &manifest.files {
        let mode = std::os::unix::fs::MetadataExt::mode(&to.join(&entry.name).metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600, "{}", entry.name);
    }
    // Into a folder that has something already: never.
    assert!(matches!(
        take(&home, &to, false, NOW),
        Err(BackupError::NotEmpty(_))
    ));
    let keys = take(&home, &folder.path().join("keys"), true, NOW).unwrap();
    let found: Vec<_> = names(&keys)
        .into_iter()
        .filter(|name| name.starts_with("keys/"))
        .map(str::to_owned)
        .collect();
    assert_eq!(found, ["keys/secrets.key", "keys/tapes.key"]);
    let empty = Home::at(&folder.path().join("empty")).unwrap();
    empty.create().unwrap();
    assert!(matches!(
        take(&empty, &folder.path().join("none"), false, NOW),
        Err(BackupError::Nothing(_))
    ));
}

#[tokio::test]
async fn what_is_put_back_is_what_was_and_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = served(&folder.path().join("home")).await;
    let backup = folder.path().join("backup");
    let taken = take(&home, &backup, true, NOW).unwrap();

    let other = Home::at(&folder.path().join("other")).unwrap();
    let restored = restore(&other, &backup, false, &clock()).await.unwrap();
    assert_eq!(restored.manifest, taken);
    assert!(restored.aside.is_none() && restored.missing.is_empty());
    assert!(!is_unfinished(&other));
    let state = State::open(&other.database()).unwrap();
    assert!(state.agent_by_token(&Digest::of(b"token")).is_some());
    assert!(state.is_revoked(&Scope::All));
    assert_eq!(std::fs::read(other.secrets()).unwrap(), b"sealed");
    assert_eq!(std::fs::read(other.tapes_key()).unwrap(), b"tapes");
    assert!(other.tapes().join(format!("{TAPE}.tape")).exists());
    // The log of the backup is there, whole; another one has begun with the record of it.
    let old = journal::verify(&restored.journal, |_| {}).unwrap();
    assert!(old.is_good() && old.records == taken.records);
    let new = journal::verify(&other.journal(), |_| {}).unwrap();
    assert!(new.is_good());
    let mut reader = journal::Reader::new(&other.journal());
    let mut found = None;
    while let Some(record) = reader.next_record().unwrap() {
        if let Event::Changed(changed) = record.event {
            found = Some(changed);
        }
    }
    let found = found.expect("it is written down");
    assert_eq!(found.change, "state.restored");
    assert_eq!(found.subject.as_deref(), Some("2026-11-22T00:00:00.000Z"));
    assert_eq!(found.digest, Some(Manifest::read(&backup).unwrap().1));
    drop(state);

    // Over what is there: only where that is asked for, and nothing is lost.
    let error = restore(&other, &backup, false, &clock()).await.unwrap_err();
    assert!(matches!(error, RestoreError::There(_)), "{error}");
    private::replace(&other.keys().join("steps.key"), b"steps").unwrap();
    let restored = restore(&other, &backup, true, &clock()).await.unwrap();
    // What was made under the key of step tokens is worth nothing now.
    assert!(!other.keys().join("steps.key").exists());
    let aside = restored.aside.unwrap();
    for name in [
        "tollgate.db",
        "secrets.store",
        "journal",
        "tapes",
        "keys/secrets.key",
        "keys/steps.key",
    ] {
        assert!(aside.join(name).exists(), "{name}");
    }
    // A backup of it has the earlier log as well.
    let again = take(&other, &folder.path().join("again"), false, NOW).unwrap();
    let earlier = names(&again);
    let earlier = earlier.iter().filter(|name| name.starts_with("journals/"));
    assert!(earlier.count() > 0);
}

#[tokio::test]
async fn a_backup_that_was_changed_is_not_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let home = served(&folder.path().join("home")).await;
    let backup = folder.path().join("backup");
    let manifest = take(&home, &backup, false, NOW).unwrap();
    let other = Home::at(&folder.path().join("other")).unwrap();
    for entry in &manifest.files {
        let path = backup.join(&entry.name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let error = restore(&other, &backup, false, &clock()).await.unwrap_err();
        assert!(matches!(error, RestoreError::Changed { .. }), "{error}");
        assert!(!other.database().exists() && !is_unfinished(&other));
        std::fs::write(&path, &good).unwrap();
    }
    // What has no end is not read to it.
    let path = backup.join("secrets.store");
    let good = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let error = restore(&other, &backup, false, &clock()).await.unwrap_err();
    assert!(matches!(error, RestoreError::Step { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &good).unwrap();
    let file = backup.join("manifest.json");
    let good = std::fs::read_to_string(&file).unwrap();
    for (from, to) in [
        ("\"tollgate.db\"", "\"../tollgate.db\""),
        ("\"version\": 1", "\"version\": 2"),
        ("tollgate-backup", "other-backup"),
        ("\"keys\"", "\"keyz\""),
    ] {
        std::fs::write(&file, good.replace(from, to)).unwrap();
        let error = restore(&other, &backup, false, &clock()).await.unwrap_err();
        assert!(matches!(error, RestoreError::Manifest(_)), "{error}");
    }
    std::fs::write(&file, &good).unwrap();
    restore(&other, &backup, false, &clock()).await.unwrap();
}

#[tokio::test]
async fn a_restore_that_was_cut_short_starts_nothing_and_can_be_finished() {
    let folder = tempfile::tempdir().unwrap();
    let home = served(&folder.path().join("home")).await;
    let backup = folder.path().join("backup");
    take(&home, &backup, false, NOW).unwrap();
    let other = Home::at(&folder.path().join("other")).unwrap();
    other.create().unwrap();
    // As it was left after its first steps.
    private::replace(&other.state().join("restore.unfinished"), b"x").unwrap();
    private::make_folder(&other.state().join("restoring")).unwrap();
    std::fs::copy(backup.join("tollgate.db"), other.database()).unwrap();
    assert!(is_unfinished(&other));
    let error = crate::host::Host::open(crate::host::Options::new(other.clone()).unwrap())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("was cut short"), "{error}");
    let error = take(&other, &folder.path().join("none"), false, NOW).unwrap_err();
    assert!(matches!(error, BackupError::Unfinished(_)), "{error}");
    restore(&other, &backup, false, &clock()).await.unwrap();
    assert!(!is_unfinished(&other));
    assert!(!other.state().join("restoring").exists());
    assert!(
        State::open(&other.database())
            .unwrap()
            .is_revoked(&Scope::All)
    );
}

#[tokio::test]
async fn a_home_that_is_served_is_not_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let home = served(&folder.path().join("home")).await;
    let backup = folder.path().join("backup");
    take(&home, &backup, false, NOW).unwrap();
    let held = crate::daemon::hold(&home.daemon_lock()).unwrap();
    let error = restore(&home, &backup, true, &clock()).await.unwrap_err();
    assert!(matches!(error, RestoreError::Running(_)), "{error}");
    drop(held);
    // Nor one whose host is starting: it has the journal, and the daemon's place only later.
    let held = Disk::new(home.journal()).lock().unwrap();
    let error = restore(&home, &backup, true, &clock()).await.unwrap_err();
    assert!(matches!(error, RestoreError::InUse(_)), "{error}");
    assert!(home.database().exists() && !is_unfinished(&home));
    drop(held);
    restore(&home, &backup, true, &clock()).await.unwrap();
}

/// A manifest as the host that first had it wrote it.
#[test]
fn a_manifest_of_each_earlier_format_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.json");
    private::replace(&file, include_bytes!("../../tests/formats/backup-1.json")).unwrap();
    let (manifest, _) = Manifest::read(folder.path()).unwrap();
    assert_eq!(
        (manifest.schema, manifest.records, manifest.keys),
        (8, 3, true)
    );
    assert_eq!(manifest.files.len(), 3);
    private::replace(
        &file,
        br#"{"format":"tollgate-backup","version":7,"anything":{"else":1}}"#,
    )
    .unwrap();
    assert!(matches!(
        Manifest::read(folder.path()),
        Err(ManifestError::Newer { found: 7, .. })
    ));
}
