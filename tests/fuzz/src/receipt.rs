//! Receipts and proofs, changed: one that still holds says what it said before.

#![no_main]

mod edit;
mod golden;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tollgate::journal::merkle;
use tollgate::journal::note::VerifierKey;
use tollgate::journal::prove::Proof;
use tollgate::journal::receipt::{Checked, Receipt};

use self::edit::Edits;

struct Good {
    key: VerifierKey,
    receipt: Vec<u8>,
    checked: Checked,
    proof: Vec<u8>,
    line: Vec<u8>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let key = golden::key();
    let receipt = golden::read("receipt.json");
    let text = std::str::from_utf8(&receipt).expect("text");
    let checked = Receipt::parse(text)
        .and_then(|receipt| receipt.check(std::slice::from_ref(&key)))
        .expect("a good receipt");
    let proof = golden::read("record.tlog-proof");
    let text = std::str::from_utf8(&proof).expect("text");
    let parsed = Proof::parse(text).expect("a good proof");
    let line = parsed.extra.clone().expect("the record is in it");
    Good {
        key,
        receipt,
        checked,
        proof,
        line,
    }
});

fuzz_target!(|data: &[u8]| {
    let good = &*GOOD;
    let keys = std::slice::from_ref(&good.key);
    let mut edits = Edits(data);
    let Some(what) = edits.byte() else { return };
    // All of it the fuzzer's, or what was good, edited.
    let mut bytes = match what % 4 {
        0 => edits.0.to_vec(),
        1 => good.proof.clone(),
        _ => good.receipt.clone(),
    };
    if what % 4 != 0 {
        while edits.apply(&mut bytes).is_some() {}
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return;
    };
    if let Ok(checked) = Receipt::parse(text).and_then(|receipt| receipt.check(keys)) {
        assert_eq!(checked.call, good.checked.call);
        assert_eq!(checked.log, good.checked.log);
        for record in &checked.records {
            assert!(good.checked.records.contains(record), "{record:?}");
        }
    }
    if let Ok(proof) = Proof::parse(text)
        && let Some(line) = &proof.extra
        && proof.shows(&merkle::leaf(line), keys).is_ok()
    {
        assert_eq!(line, &good.line);
    }
});
