//! What is appended is one valid chain, whoever appends it.

use std::sync::Arc;

use super::super::record::{Changed, Event};
use super::super::{Journal, OpenError, Options};
use crate::clock::SystemClock;

fn event(text: &str) -> Event {
    Event::Changed(Changed {
        change: text.to_owned(),
        subject: None,
        digest: None,
        reason: None,
        detail: None,
    })
}

#[tokio::test]
async fn a_record_is_one_line_and_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let options = Options::new(Arc::new(SystemClock));
    let (journal, recovery) = Journal::open(&path, options.clone()).unwrap();
    assert_eq!(recovery, super::super::Recovery::default());
    let position = journal
        .append(&event("a\nb\u{1b}[31m\u{202e}\u{85}\"}"))
        .unwrap();
    journal.durable(position).await.unwrap();
    assert!(matches!(
        Journal::open(&path, options.clone()),
        Err(OpenError::Locked)
    ));
    journal.close().await.unwrap();
    assert!(journal.append(&event("b")).is_err());
    let (journal, recovery) = Journal::open(&path, options).unwrap();
    assert_eq!(recovery.seq, 1);
    assert_eq!(journal.append(&event("c")).unwrap().seq(), 2);
    let text = std::fs::read_to_string(path.join("00000000000000000001.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(
        text.contains(r#""change":"a\nb\u001b[31m\u202e\u0085\"}""#),
        "{text}"
    );
}
