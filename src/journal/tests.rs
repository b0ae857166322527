//! The journal against a file system that fails, a process that dies, and someone who edits.

mod chain;
mod crash;
mod faults;
mod keep;
mod lines;
mod memory;
mod reading;
mod rotation;
mod searching;
mod tamper;

use std::sync::Arc;

use super::record::{ArgumentsView, CallId, Caller, Changed, Event, Intent, Outcome};
use super::storage::Storage;
use super::{Journal, Options, Recovery};
use crate::clock::SystemClock;
use crate::digest::Digest;
use crate::policy::{Ground, PolicyRef};
use memory::Memory;

/// Options with segments of about this size, which stay as they are.
fn options(segment_bytes: u64) -> Options {
    Options {
        segment_bytes,
        keep: None,
        ..Options::new(Arc::new(SystemClock))
    }
}

fn open(memory: &Memory, options: Options) -> (Journal, Recovery) {
    Journal::open_in(Arc::new(memory.clone()), options).unwrap()
}

pub(super) fn call_id(number: u128) -> CallId {
    CallId(uuid::Uuid::from_u128(number))
}

fn changed(text: &str) -> Event {
    Event::Changed(Changed {
        change: text.to_owned(),
        ..Changed::default()
    })
}

pub(super) fn intent(call: CallId) -> Event {
    Event::Intent(Intent {
        call,
        caller: Caller {
            agent: "claude".parse().unwrap(),
            user: None,
            transport: String::from("stdio"),
            client: Some(String::from("inspector 1.0")),
            task: None,
            chain: Vec::new(),
        },
        tool: "github.search".parse().unwrap(),
        kind: Default::default(),
        round: None,
        job: None,
        plugin: Digest::of(b"plugin"),
        arguments: ArgumentsView {
            digest: Some(Digest::of(b"{}")),
            bytes: 2,
            view: String::from("{}"),
            cut: false,
        },
        attempt: 1,
        grants: vec![String::from("api")],
        decision: Ground {
            policies: vec![PolicyRef {
                id: String::from("reads"),
                file: String::from("github.cedar"),
                line: 3,
            }],
            set: Digest::of(b"set"),
            errors: Vec::new(),
        },
    })
}

pub(super) fn outcome(call: CallId) -> Event {
    Event::Outcome(Outcome {
        call,
        status: String::from("ok"),
        reason: None,
        detail: None,
        refused: [].into(),
        fuel: 1234,
        host_calls: [(String::from("http"), 2)].into(),
        numbered: 0,
        result: Some(Digest::of(b"result")),
        bytes_out: 6,
        redacted: 0,
        tape: None,
        untaped: None,
        duration_us: 4321,
    })
}

/// What `verify` says of the storage.
fn verify(storage: &dyn Storage) -> super::VerifyReport {
    super::verify_in(storage, &[], |_| ()).unwrap()
}

/// The log's own records apart.
fn told(memory: &Memory) -> Vec<(u64, Event)> {
    let mut told = Vec::new();
    for lines in memory.segments().into_values() {
        for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let head = super::line::Head::read(line).unwrap();
            let record = head.record().unwrap();
            if !matches!(
                record.event,
                Event::SegmentOpened(_) | Event::SegmentClosed(_)
            ) {
                told.push((record.seq, record.event));
            }
        }
    }
    told
}

/// A good log of `records` records, besides its own, in several segments, as it is in files.
fn good_log(records: u64) -> Memory {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(2048));
    for number in 0..records {
        let call = call_id(u128::from(number / 2) + 1);
        let event = if number % 2 == 0 {
            intent(call)
        } else {
            outcome(call)
        };
        journal.append(&event).unwrap();
    }
    drop(journal);
    assert_eq!(told(&memory).len() as u64, records);
    let report = verify(&memory);
    assert_eq!((report.unsigned(), report.first_bad), (0, None));
    memory
}
