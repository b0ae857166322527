//! What the journal says, held against what clients were told and what reached the upstream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tollgate::journal::Reader;
use tollgate::journal::record::{CallId, Event};

use crate::upstream::Seen;

/// How a call ended, as its client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Ran,
    /// It ran, and sent a request to this path.
    Sent(String),
    Refused,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Told {
    call: String,
    agent: String,
    end: End,
}

impl Told {
    pub(super) fn of(result: &Value, agent: &str, end: End) -> Self {
        Self {
            call: result["_meta"]["dev.tollgate/call"]
                .as_str()
                .unwrap_or_else(|| panic!("an answer names its call: {result}"))
                .to_owned(),
            agent: agent.to_owned(),
            end,
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.end == End::Refused
    }
}

/// The records of one call.
#[derive(Debug, Default)]
struct Call {
    agent: String,
    intents: usize,
    outcomes: usize,
    refusals: usize,
}

impl Call {
    const fn ran(&self) -> bool {
        matches!((self.intents, self.outcomes, self.refusals), (1, 1, 0))
    }

    const fn was_refused(&self) -> bool {
        matches!((self.intents, self.outcomes, self.refusals), (0, 0, 1))
    }
}

/// The journal, as far as it matters here.
#[derive(Default)]
pub(super) struct Written {
    calls: BTreeMap<String, Call>,
    /// Where requests were about to go.
    targets: BTreeSet<String>,
}

impl Written {
    pub(super) fn read(folder: &Path) -> Self {
        let mut written = Self::default();
        let mut reader = Reader::new(folder);
        // One at a time: a minute's are hundreds of thousands.
        while let Some(record) = reader.next_record().unwrap() {
            let caller = record.event.caller().map(|caller| &caller.agent);
            let agent = caller.map(|agent| agent.name().to_owned());
            match record.event {
                Event::Intent(intent) => written.call(intent.call, agent).intents += 1,
                Event::Outcome(outcome) => written.call(outcome.call, agent).outcomes += 1,
                // Of a host call is another matter: its call goes on.
                Event::Refusal(refused) if refused.host_call.is_none() => {
                    written.call(refused.call, agent).refusals += 1;
                }
                Event::HostCall(made) => {
                    written.targets.insert(made.host_call.target);
                }
                _ => {}
            }
        }
        written
    }

    fn call(&mut self, call: CallId, agent: Option<String>) -> &mut Call {
        let call = self.calls.entry(call.to_string()).or_default();
        if let Some(agent) = agent {
            call.agent = agent;
        }
        call
    }

    /// How many calls there are of agents whose names begin so.
    pub(super) fn calls_of(&self, names: &str) -> usize {
        let of = |call: &&Call| call.agent.starts_with(names);
        self.calls.values().filter(of).count()
    }

    /// Each call has one intent and one outcome, or was refused once; cut off or not.
    #[track_caller]
    pub(super) fn has_an_end_for_each_call(&self) {
        let odd = |call: &Call| !call.ran() && !call.was_refused();
        let odd: Vec<_> = self.calls.iter().filter(|(_, call)| odd(call)).collect();
        assert!(odd.is_empty(), "{} of them: {:?}", odd.len(), odd.first());
    }

    /// Each answer has its call here, which ended as it says; and whoever was told everything has no other one.
    #[track_caller]
    pub(super) fn is_what_was_told(&self, told: &[Told]) {
        let mut known = BTreeSet::new();
        for told in told {
            let call = self
                .calls
                .get(&told.call)
                .unwrap_or_else(|| panic!("answered, and not written: {told:?}"));
            let as_told = match told.end {
                End::Ran | End::Sent(_) => call.ran(),
                End::Refused => call.was_refused(),
            };
            assert!(as_told && call.agent == told.agent, "{told:?}: {call:?}");
            assert!(
                known.insert(&told.call),
                "two answers of one call: {told:?}"
            );
        }
        let told_all = |call: &Call| !call.agent.starts_with("cut-");
        let more: Vec<_> = self
            .calls
            .iter()
            .filter(|(id, call)| told_all(call) && !known.contains(id))
            .collect();
        assert!(
            more.is_empty(),
            "written, and not answered: {} of them, {:?}",
            more.len(),
            more.first()
        );
    }

    /// What reached the upstream was written down before, and came once; what a client was told was sent, was.
    /// How many requests came.
    #[track_caller]
    pub(super) fn holds_what_was_sent(&self, ledger: &[Seen], told: &[Told]) -> usize {
        let mut sent: BTreeSet<String> = BTreeSet::new();
        for seen in ledger {
            let line = seen.line();
            let path = line.split(' ').nth(1).unwrap_or_default();
            let host = seen.header("host").concat();
            assert!(
                self.targets.contains(&format!("http://{host}{path}")),
                "sent, and not written: {line}"
            );
            assert!(sent.insert(path.to_owned()), "sent again: {line}");
        }
        for told in told {
            if let End::Sent(path) = &told.end {
                assert!(sent.contains(path), "answered, and not sent: {told:?}");
            }
        }
        sent.len()
    }
}
