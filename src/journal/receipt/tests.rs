use super::*;
use crate::journal::forge::Forge;
use crate::journal::note::{Note, Signer, VerifierKey};
use crate::journal::prove::ProofError;
use crate::journal::tests::{call_id, intent, outcome};

/// A log whose call begins in its second segment and ends in the third.
struct Made {
    forge: Forge,
    call: CallId,
    closings: Vec<(u64, String)>,
    records: Vec<u64>,
    /// A checkpoint of each segment.
    notes: Vec<(u64, String)>,
}

fn rotate(forge: &mut Forge, closings: &mut Vec<(u64, String)>, notes: &mut Vec<(u64, String)>) {
    forge.rotate();
    let closing = forge.size() - 1;
    closings.push((closing, forge.line(closing)));
    let (_, of_closed) = forge.notes.iter().rev().nth(1).unwrap();
    notes.push((closing, of_closed.last().unwrap().clone()));
}

fn made() -> Made {
    let call = call_id(7);
    let mut forge = Forge::new(1);
    let (mut closings, mut notes) = (Vec::new(), Vec::new());
    forge.change("first");
    rotate(&mut forge, &mut closings, &mut notes);
    forge.write(&intent(call_id(6)));
    let began = forge.write(&intent(call));
    rotate(&mut forge, &mut closings, &mut notes);
    let ended = forge.write(&outcome(call));
    forge.write(&outcome(call_id(6)));
    let last = forge.checkpoint();
    notes.push((forge.size(), last));
    Made {
        forge,
        call,
        closings,
        records: vec![began, ended],
        notes,
    }
}

impl Made {
    /// The checkpoint of the segment that record `seq` is in.
    fn note(&self, seq: u64) -> &str {
        let (_, note) = self.notes.iter().find(|(size, _)| *size >= seq).unwrap();
        note
    }

    fn shown(&self, seq: u64) -> Shown {
        Shown::new(self.forge.line(seq), &self.forge.proof(seq, self.note(seq)))
    }

    fn key(&self, segment: usize) -> VerifierKey {
        self.forge
            .signer(1_u8.wrapping_add(u8::try_from(segment * 101 % 256).unwrap()))
            .verifier()
            .clone()
    }

    fn receipt(&self) -> Receipt {
        let records: Vec<Record> = self
            .records
            .iter()
            .map(|seq| self.forge.record(*seq))
            .collect();
        let shown = self.records.iter().map(|seq| self.shown(*seq)).collect();
        let keys = self
            .closings
            .iter()
            .map(|(seq, _)| self.shown(*seq))
            .collect();
        let key = self.key(0);
        Receipt::new(
            self.call,
            (key.name(), key.to_string()),
            keys,
            &records,
            shown,
        )
        .unwrap()
    }
}

#[test]
fn a_receipt_is_checked_with_the_first_key_alone() {
    let made = made();
    let text = made.receipt().text().unwrap();
    let receipt = Receipt::parse(&text).unwrap();
    assert_eq!(receipt, made.receipt());
    let checked = receipt.check(&[made.key(0)]).unwrap();
    assert_eq!(checked.call, made.call);
    assert_eq!(checked.summary.status, "ok");
    assert_eq!(checked.summary.fuel, Some(1234));
    assert_eq!(checked.records.len(), 2);
    assert_eq!(checked.size, made.forge.size());
    assert_eq!(checked.gaps, [0; 0]);
}

#[test]
fn a_receipt_can_rest_on_a_later_key_as_far_as_that_goes() {
    let made = made();
    let receipt = made.receipt();
    assert!(
        receipt.check(&[made.key(1)]).is_ok(),
        "that of its first record"
    );
    assert_eq!(
        receipt.check(&[made.key(2)]),
        Err(ReceiptError::Older { place: 3 })
    );
    let stranger = Forge::new(9).signer(9).verifier().clone();
    assert!(matches!(
        receipt.check(&[stranger]),
        Err(ReceiptError::Untrusted(_))
    ));
    assert!(matches!(
        receipt.check(&[]),
        Err(ReceiptError::Untrusted(_))
    ));
}

#[test]
fn nothing_in_a_receipt_can_be_changed() {
    let made = made();
    let known = [made.key(0)];
    let good = made.receipt();
    let bad = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = good.clone();
        change(&mut receipt);
        receipt.check(&known).unwrap_err()
    };
    let fuel = |receipt: &mut Receipt| {
        let shown = &mut receipt.records[1];
        shown.record = shown.record.replace("1234", "1235");
    };
    assert!(matches!(
        bad(&fuel),
        ReceiptError::Proof {
            place: 4,
            why: ProofError::Elsewhere(_)
        }
    ));
    // What it says at the top is compared.
    assert_eq!(
        bad(&|receipt| receipt.summary["fuel"] = 1235.into()),
        ReceiptError::Summary
    );
    assert_eq!(
        bad(&|receipt| drop(receipt.records.pop())),
        ReceiptError::Summary
    );
    assert!(matches!(
        bad(&|receipt| receipt.records.reverse()),
        ReceiptError::Record { .. }
    ));
    assert!(matches!(
        bad(&|receipt| receipt.records.clear()),
        ReceiptError::Form(_)
    ));
    // Another call's record, with a good proof of its own.
    let other = made.shown(made.forge.size());
    assert!(matches!(
        bad(&|receipt| receipt.records.push(other.clone())),
        ReceiptError::Record {
            place: 5,
            why: "is not of this call"
        }
    ));
    assert_eq!(
        bad(&|receipt| receipt.call = call_id(6)),
        ReceiptError::Record {
            place: 3,
            why: "is not of this call"
        }
    );
    // One key left out: the next one was named by nobody who is trusted.
    assert!(matches!(
        bad(&|receipt| drop(receipt.keys.remove(0))),
        ReceiptError::Proof {
            place: 1,
            why: ProofError::Note(_)
        }
    ));
    assert!(matches!(
        bad(&|receipt| drop(receipt.keys.pop())),
        ReceiptError::Proof {
            place: 3,
            why: ProofError::Note(_)
        }
    ));
    // A record that closes nothing names no key.
    let shown = good.records[0].clone();
    assert!(matches!(
        bad(&|receipt| receipt.keys[1] = shown.clone()),
        ReceiptError::Record {
            place: 2,
            why: "closes no segment"
        }
    ));
    let other_version = good
        .text()
        .unwrap()
        .replace("\"tollgate_receipt\": 1", "\"tollgate_receipt\": 2");
    let status = "\"status\": \"ok\"";
    let twice = format!("\"status\": \"held\", {status}");
    let twice = good.text().unwrap().replacen(status, &twice, 1);
    assert!(twice.contains("held"), "{twice}");
    for text in ["", "{}", "[]", other_version.as_str(), twice.as_str()] {
        assert!(Receipt::parse(text).is_err());
    }
}

/// L05: with the key of today, a record of yesterday can be signed for, and counts for nothing.
#[test]
fn a_stolen_key_vouches_for_nothing_older_than_its_segment() {
    let made = made();
    let known = [made.key(0)];
    let began = made.records[0];

    // The thief rewrites the call's first record, and everything after it, and signs with today's key.
    let mut forged = Forge::new(1);
    forged.change("first");
    forged.rotate();
    forged.write(&intent(call_id(6)));
    let mut lie = intent(made.call);
    if let Event::Intent(intent) = &mut lie {
        intent.tool = "github.read".parse().unwrap();
    }
    forged.write(&lie);
    forged.rotate();
    forged.write(&outcome(made.call));
    let seed = 203;
    let signed = forged.signed(seed);
    let shown = Shown::new(forged.line(began), &forged.proof(began, &signed));
    let mut receipt = made.receipt();
    receipt.records[0] = shown;
    assert!(matches!(
        receipt.check(&known),
        Err(ReceiptError::Proof {
            place: 3,
            why: ProofError::Note(_)
        })
    ));

    // In its own segment the key can sign another end; two of them in one receipt give that away.
    let mut fork = made.forge.clone();
    let again = fork.write(&outcome(made.call));
    let mut other = fork.clone();
    fork.change("one end");
    other.change("another end");
    let (one, two) = (fork.signed(seed), other.signed(seed));
    let ended = made.records[1];
    let seqs = [began, ended, again];
    let records: Vec<Record> = seqs.iter().map(|seq| fork.record(*seq)).collect();
    let shown = vec![
        made.shown(began),
        Shown::new(fork.line(ended), &fork.proof(ended, &one)),
        Shown::new(other.line(again), &other.proof(again, &two)),
    ];
    let key = made.key(0);
    let keys = made.receipt().keys;
    let receipt = Receipt::new(
        made.call,
        (key.name(), key.to_string()),
        keys,
        &records,
        shown,
    )
    .unwrap();
    assert_eq!(receipt.check(&known), Err(ReceiptError::Fork(fork.size())));
}

#[test]
fn a_call_whose_host_died_has_a_receipt_that_says_so() {
    let mut made = made();
    let unknown = made
        .forge
        .write(&Event::Recovered(crate::journal::record::Recovered {
            cut_bytes: 0,
            unknown: vec![made.call],
        }));
    let note = made.forge.checkpoint();
    made.notes.pop();
    made.notes.push((made.forge.size(), note));
    made.records = vec![made.records[0], unknown];
    let checked = made.receipt().check(&[made.key(0)]).unwrap();
    assert_eq!(checked.summary.status, "unknown");
}

/// T8: with the key of today a call can be made up; what a witness signed before is no word on it.
#[test]
fn a_witness_counts_that_saw_all_of_the_call() {
    let witness = Signer::witness("w.example/1", &[7; 32]);
    let mut made = made();
    let known = [made.key(0), witness.verifier().clone()];
    // It sees the segment before the call, the one where that ends, and at last the one where it began.
    for (segment, time, seen) in [(0, 10, vec![]), (2, 30, vec![]), (1, 20, vec![30_u64])] {
        let (_, text) = &mut made.notes[segment];
        let note = Note::parse(text.as_bytes()).unwrap();
        text.push_str(&witness.cosign(note.text(), time));
        let checked = made.receipt().check(&known).unwrap();
        let times: Vec<u64> = checked.witnesses.iter().map(|one| one.time).collect();
        assert_eq!(times, seen, "with segment {segment}");
    }
}
