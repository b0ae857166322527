//! Checking a receipt, with nothing but the file and a key of the log.

use std::collections::{BTreeSet, HashMap};

use super::{Receipt, Shown, Summary, is_of};
use crate::digest::Digest;
use crate::journal::line::{BadLine, Head};
use crate::journal::merkle;
use crate::journal::note::{Checkpoint, Cosignature, NoteError, VerifierKey};
use crate::journal::prove::{Proof, ProofError};
use crate::journal::record::{CallId, Event, Record};

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Not a receipt.
    #[error("this is no receipt: {0}")]
    Form(String),
    /// Written by another version of the host.
    #[error("this is a receipt of version {0} of the format, and version 1 is known here")]
    Version(u32),
    /// A record in it is none.
    #[error("record {place} of the receipt is no record: {why}")]
    Line {
        /// Where in the file, from 1, closing records first.
        place: usize,
        /// What is wrong with it.
        why: BadLine,
    },
    /// A proof in it does not hold.
    #[error("record {place} of the receipt: {why}")]
    Proof {
        /// Where in the file, from 1, closing records first.
        place: usize,
        /// Why not.
        why: ProofError,
    },
    /// A record is not where its proof says, not of this call, or out of order.
    #[error("record {place} of the receipt {why}")]
    Record {
        /// Where in the file, from 1, closing records first.
        place: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key in it can't be read.
    #[error(transparent)]
    Key(NoteError),
    /// None of the keys that are trusted is among those that lead to the records.
    #[error(
        "the receipt rests on the keys of `{0}`, and none of those that are trusted here is among them"
    )]
    Untrusted(String),
    /// A record was signed for by a key from before the one that is trusted.
    #[error(
        "record {place} of the receipt was signed for by a key older than the one that is trusted here: name an older key, best the first one"
    )]
    Older {
        /// Where in the file, from 1, closing records first.
        place: usize,
    },
    /// Two checkpoints can't both be of one log.
    #[error("the log's key signed two histories of {0} records: the log was forked")]
    Fork(u64),
    /// What it says at the top is not what the records say.
    #[error("the summary is not what the records say")]
    Summary,
}

/// What a good receipt shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The call.
    pub call: CallId,
    /// What its records say.
    pub summary: Summary,
    /// The records, in order.
    pub records: Vec<Record>,
    /// The log.
    pub log: String,
    /// The largest checkpoint that vouches for some of it.
    pub size: u64,
    /// Witnesses, among those that are known, that saw the log with each of these records in it, and when
    /// they had seen all of them.
    pub witnesses: Vec<Cosignature>,
    /// Numbers of host calls that are in no record here: ended before they had one, or left out of the
    /// receipt.
    pub gaps: Vec<u32>,
}

/// A key, and the records that it vouches for: those from an index on, to where the next one begins.
struct Reign {
    key: VerifierKey,
    from: u64,
    until: Option<u64>,
}

/// What was found while checking.
#[derive(Default)]
struct Seen {
    /// Roots by size: a log has one history.
    roots: HashMap<u64, Digest>,
    size: u64,
}

impl Receipt {
    /// Checks everything in it against the `known` keys: at least one of the log's, and of witnesses
    /// where their word is of interest.
    ///
    /// # Errors
    ///
    /// Why it proves nothing.
    pub fn check(&self, known: &[VerifierKey]) -> Result<Checked, ReceiptError> {
        let mut seen = Seen::default();
        let reigns = self.reigns(known, &mut seen)?;
        let trusted = reigns
            .iter()
            .position(|reign| known.contains(&reign.key))
            .ok_or_else(|| ReceiptError::Untrusted(self.log.clone()))?;
        let mut records: Vec<Record> = Vec::new();
        let mut witnesses: Option<Vec<Cosignature>> = None;
        for (i, shown) in self.records.iter().enumerate() {
            let place = self.keys.len() + i + 1;
            let wrong = |why| ReceiptError::Record { place, why };
            let (record, proof) = read(shown, place)?;
            let by = reigns.partition_point(|reign| reign.from <= proof.index);
            let by = by.checked_sub(1).ok_or(wrong("is before the first key"))?;
            if by < trusted {
                return Err(ReceiptError::Older { place });
            }
            let reign = reigns.get(by).ok_or(wrong("is before the first key"))?;
            let said = seen.proved(shown, &proof, reign, known, place)?;
            // Who saw an older segment, or a part of the call, says nothing of the rest of it.
            match &mut witnesses {
                None => witnesses = Some(said),
                Some(all) => all.retain_mut(|one| {
                    let again = said.iter().find(|other| other.name == one.name);
                    one.time = one.time.max(again.map_or(0, |other| other.time));
                    again.is_some()
                }),
            }
            if !is_of(&record, self.call) {
                return Err(wrong("is not of this call"));
            }
            if records.last().is_some_and(|last| last.seq >= record.seq) {
                return Err(wrong("is not in the order of the log"));
            }
            records.push(record);
        }
        if records.is_empty() {
            return Err(ReceiptError::Form(String::from("it has no records")));
        }
        let summary = Summary::of(self.call, &records);
        if serde_json::to_value(&summary).ok().as_ref() != Some(&self.summary) {
            return Err(ReceiptError::Summary);
        }
        Ok(Checked {
            call: self.call,
            gaps: gaps(&summary),
            summary,
            records,
            log: self.log.clone(),
            size: seen.size,
            witnesses: witnesses.unwrap_or_default(),
        })
    }

    /// The keys, each named by the closing record that the one before signed for.
    fn reigns(&self, known: &[VerifierKey], seen: &mut Seen) -> Result<Vec<Reign>, ReceiptError> {
        let first = self.key_of_log(&self.key)?;
        let mut reigns = Vec::new();
        let mut reign = Reign {
            key: first,
            from: 0,
            until: None,
        };
        for (i, shown) in self.keys.iter().enumerate() {
            let place = i + 1;
            let wrong = |why| ReceiptError::Record { place, why };
            let (record, proof) = read(shown, place)?;
            let Event::SegmentClosed(closed) = &record.event else {
                return Err(wrong("closes no segment"));
            };
            if proof.index < reign.from {
                return Err(wrong("is not in the order of the log"));
            }
            reign.until = Some(record.seq);
            seen.proved(shown, &proof, &reign, known, place)?;
            let next = Reign {
                key: self.key_of_log(&closed.next)?,
                from: record.seq,
                until: None,
            };
            reigns.push(std::mem::replace(&mut reign, next));
        }
        reigns.push(reign);
        Ok(reigns)
    }

    fn key_of_log(&self, text: &str) -> Result<VerifierKey, ReceiptError> {
        let key: VerifierKey = text.parse().map_err(ReceiptError::Key)?;
        if key.is_log() && key.name() == self.log {
            Ok(key)
        } else {
            Err(ReceiptError::Form(String::from(
                "a key in it is not one of its log",
            )))
        }
    }
}

fn read(shown: &Shown, place: usize) -> Result<(Record, Proof), ReceiptError> {
    let line = shown.record.as_bytes();
    let record = Head::read(line)
        .and_then(|head| head.record())
        .map_err(|why| ReceiptError::Line { place, why })?;
    let proof = Proof::parse(&shown.proof).map_err(|why| ReceiptError::Proof { place, why })?;
    if record.seq.checked_sub(1) != Some(proof.index) {
        let why = "is not the one that its proof is of";
        return Err(ReceiptError::Record { place, why });
    }
    Ok((record, proof))
}

impl Seen {
    /// A record is in the tree that the key of its own segment signed; what witnesses say of that tree.
    fn proved(
        &mut self,
        shown: &Shown,
        proof: &Proof,
        reign: &Reign,
        known: &[VerifierKey],
        place: usize,
    ) -> Result<Vec<Cosignature>, ReceiptError> {
        let failed = |why| ReceiptError::Proof { place, why };
        let leaf = merkle::leaf(shown.record.as_bytes());
        let signer = std::slice::from_ref(&reign.key);
        let Checkpoint { size, root, .. } = proof.shows(&leaf, signer).map_err(failed)?;
        if reign.until.is_some_and(|until| size > until) {
            let why = "has a checkpoint of records that the key no longer signed for";
            return Err(ReceiptError::Record { place, why });
        }
        if *self.roots.entry(size).or_insert(root) != root {
            return Err(ReceiptError::Fork(size));
        }
        self.size = self.size.max(size);
        let said = proof.note.cosignatures(known);
        said.map_err(|why| failed(ProofError::Note(why)))
    }
}

/// Host calls are numbered from 1 to as many as the outcome says.
fn gaps(summary: &Summary) -> Vec<u32> {
    let there: BTreeSet<u32> = summary.host_calls.iter().map(|made| made.number).collect();
    let last = there.last().copied().unwrap_or(0);
    (1..=last.max(summary.host_calls_numbered))
        .filter(|number| !there.contains(number))
        // A few are enough to say that there are some.
        .take(16)
        .collect()
}
