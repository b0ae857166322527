use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::entropy::SeededEntropy;

const CANARY: &str = "canary-9f86d081884c7d65";

fn store(seed: u64) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path()).unwrap();
    home.create().unwrap();
    let store = Store::new(&home, Arc::new(SeededEntropy(AtomicU64::new(seed))));
    (dir, store)
}

fn plugin(name: &str) -> PluginName {
    name.parse().unwrap()
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(text.into())
}

#[test]
fn what_is_set_is_got_and_removed() {
    let (_dir, store) = store(0);
    let github = plugin("github");
    assert_eq!(store.list().unwrap(), []);
    assert!(matches!(
        store.value(&github, "token"),
        Err(StoreError::Missing { .. })
    ));
    store.set(&github, "token", &value("old")).unwrap();
    store.set(&github, "token", &value(CANARY)).unwrap();
    store.set(&plugin("fetch"), "key", &value("x")).unwrap();
    assert_eq!(
        store.value(&github, "token").unwrap().expose(),
        CANARY.as_bytes()
    );
    let names = [
        (plugin("fetch"), "key".into()),
        (github.clone(), "token".into()),
    ];
    assert_eq!(store.list().unwrap(), names);
    store.remove(&github, "token").unwrap();
    assert!(matches!(
        store.remove(&github, "token"),
        Err(StoreError::Missing { .. })
    ));
    assert_eq!(store.value(&plugin("fetch"), "key").unwrap().expose(), b"x");
}

#[test]
fn its_files_are_private_and_show_no_value() {
    let (_dir, store) = store(0);
    store
        .set(&plugin("github"), "token", &value(CANARY))
        .unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&store.path), mode(&store.key)), (0o600, 0o600));
    let text = std::fs::read_to_string(&store.path).unwrap();
    assert!(!text.contains(CANARY) && !text.contains(&STANDARD.encode(CANARY)));
    assert!(!format!("{store:?}").contains(CANARY));
    std::fs::set_permissions(&store.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(store.list(), Err(StoreError::File(_))));
}

#[test]
fn a_second_write_uses_other_nonces() {
    let (_dir, store) = store(0);
    let write = || {
        store
            .set(&plugin("github"), "token", &value(CANARY))
            .unwrap();
        std::fs::read(&store.path).unwrap()
    };
    let read = |bytes: &[u8]| serde_json::from_slice::<Contents>(bytes).unwrap();
    let (one, two) = (read(&write()), read(&write()));
    assert_ne!(one.entries[0].nonce, two.entries[0].nonce);
    assert_ne!(one.entries[0].sealed, two.entries[0].sealed);
    assert_ne!(one.nonce, two.nonce);
}

#[test]
fn a_tampered_store_is_an_error_whatever_was_changed() {
    let (_dir, store) = store(0);
    store.set(&plugin("a"), "token", &value(CANARY)).unwrap();
    let earlier: Contents = serde_json::from_slice(&std::fs::read(&store.path).unwrap()).unwrap();
    store.set(&plugin("b"), "token", &value("other")).unwrap();
    let good = std::fs::read(&store.path).unwrap();
    let read = || serde_json::from_slice::<Contents>(&good).unwrap();
    let mut bad: Vec<Vec<u8>> = vec![
        vec![],
        b"{}".to_vec(),
        b"garbage".to_vec(),
        good[..good.len() - 20].to_vec(),
    ];
    let mut swapped = read();
    let first = swapped.entries[0].plugin.clone();
    swapped.entries[0].plugin = swapped.entries[1].plugin.clone();
    swapped.entries[1].plugin = first;
    let mut shorter = read();
    shorter.entries.pop();
    let mut renamed = read();
    renamed.entries[0].name = "tokem".into();
    let mut older = read();
    older.entries[0] = earlier.entries.into_iter().next().unwrap();
    older.entries[0].nonce = older.nonce.clone();
    for contents in [swapped, shorter, renamed, older] {
        bad.push(serde_json::to_vec(&contents).unwrap());
    }
    for contents in bad {
        private::replace(&store.path, &contents).unwrap();
        assert!(matches!(store.list(), Err(StoreError::Tampered { .. })));
        assert!(matches!(
            store.value(&plugin("a"), "token"),
            Err(StoreError::Tampered { .. })
        ));
        // And it is not overwritten.
        assert!(store.set(&plugin("c"), "x", &value("x")).is_err());
        assert_eq!(std::fs::read(&store.path).unwrap(), contents);
    }
    private::replace(&store.path, &good).unwrap();
    assert_eq!(
        store.value(&plugin("a"), "token").unwrap().expose(),
        CANARY.as_bytes()
    );
}

#[test]
fn a_foreign_store_or_a_lost_key_is_a_clear_error() {
    let (_one, one) = store(0);
    let (_two, two) = store(100);
    one.set(&plugin("a"), "token", &value(CANARY)).unwrap();
    two.set(&plugin("a"), "token", &value("x")).unwrap();
    private::replace(&two.path, &std::fs::read(&one.path).unwrap()).unwrap();
    assert!(matches!(two.list(), Err(StoreError::Tampered { .. })));
    std::fs::remove_file(&one.key).unwrap();
    assert!(matches!(one.list(), Err(StoreError::NoKey { .. })));
    assert!(matches!(
        one.set(&plugin("a"), "token", &value("x")),
        Err(StoreError::NoKey { .. })
    ));
    private::replace(&one.key, b"short").unwrap();
    assert!(matches!(one.list(), Err(StoreError::BadKey { .. })));
    private::replace(&one.key, &[0; 33]).unwrap();
    assert!(matches!(one.list(), Err(StoreError::BadKey { .. })));
}

#[test]
fn names_and_values_have_bounds() {
    let (_dir, store) = store(0);
    let a = plugin("a");
    assert!(matches!(
        store.set(&a, "../x", &value("x")),
        Err(StoreError::Name(_))
    ));
    assert!(matches!(
        store.set(&a, "x", &value("")),
        Err(StoreError::Size(0))
    ));
    let long = SecretValue::new(vec![b'x'; MAX_VALUE + 1]);
    assert!(matches!(
        store.set(&a, "x", &long),
        Err(StoreError::Size(_))
    ));
}
