//! `tollgate audit check`: whether a receipt or a proof holds, with the log's key and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::json;

use crate::cli::args::CheckFile;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::finding::number;
use crate::cli::printer::{BAD, GOOD, Printer};
use crate::clock::rfc3339;
use crate::journal::archive::Archive;
use crate::journal::escape;
use crate::journal::note::{Cosignature, VerifierKey};
use crate::journal::prove::{PROOF, Proof};
use crate::journal::receipt::{Checked, MAX_RECEIPT, Receipt};
use crate::journal::show::{self, Look};
use crate::journal::{merkle, parse_line};

/// The most bytes of a key's file.
const KEY: u64 = 4096;

pub(super) fn run(check: &CheckFile, folder: &Path, printer: &mut Printer) -> Result<Exit, Fault> {
    let text = text_of(&check.file, MAX_RECEIPT)?;
    let mut keys = Vec::new();
    for text in &check.keys {
        keys.push(key_of(text)?);
    }
    if keys.is_empty() {
        let proved = Proof::parse(&text).ok();
        let record = proved.and_then(|proof| proof.index.checked_add(1));
        keys = own_keys(folder, record)?;
    }
    for text in &check.witnesses {
        keys.push(key_of(text)?);
    }
    if text.starts_with(PROOF) {
        return proof(&text, &keys, printer);
    }
    match Receipt::parse(&text).and_then(|receipt| receipt.check(&keys)) {
        Ok(checked) => good(&checked, printer),
        Err(error) => bad(&error.to_string(), printer),
    }
}

/// A file's text, or that of standard input.
pub(super) fn text_of(file: &Path, most: u64) -> Result<String, Fault> {
    let wrong = |error: io::Error| {
        Fault::of(&error)
            .context(&format!("can't read `{}`", file.display()))
            .exit(Exit::Invalid)
    };
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(wrong)?)
    };
    let mut text = String::new();
    reader
        .take(most + 1)
        .read_to_string(&mut text)
        .map_err(wrong)?;
    if text.len() as u64 > most {
        return Err(Fault::invalid(format!(
            "`{}` is larger than {most} bytes",
            file.display()
        )));
    }
    Ok(text)
}

/// A key as it is, or the file it is in: a key has a `+` in it.
pub(super) fn key_of(text: &str) -> Result<VerifierKey, Fault> {
    let parsed = if text.contains('+') && !Path::new(text).exists() {
        text.parse()
    } else {
        text_of(Path::new(text), KEY)?
            .trim_end_matches('\n')
            .parse()
    };
    parsed.map_err(|error: crate::journal::note::NoteError| Fault::of(&error).exit(Exit::Invalid))
}

/// The keys of this home's journal, each named by the one before; of a record that is proved by itself, the
/// one of its segment alone: whoever has stolen a later one can sign for any older record.
fn own_keys(folder: &Path, record: Option<u64>) -> Result<Vec<VerifierKey>, Fault> {
    let missing = || {
        Fault::invalid("no key is trusted to check it with")
            .hint("name a key of the log, from a source that you trust, with `--pub KEY`; it is in `state/journal/log.pub` of its home")
    };
    let path = folder.join("log.pub");
    if !path.exists() {
        return Err(missing());
    }
    let first = key_of(&path.display().to_string())?;
    let keys = Archive::open(folder).and_then(|mut archive| {
        let keys = archive.chain(&first)?;
        let own = record.and_then(|seq| archive.key_of(seq));
        Ok(own.map_or(keys, |key| vec![key.clone()]))
    });
    // What the first key leads to may be enough.
    Ok(keys.unwrap_or_else(|_| vec![first]))
}

fn good(checked: &Checked, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        let witnesses: Vec<_> = checked.witnesses.iter().map(witness_json).collect();
        printer.object(
            "checked",
            &json!({
                "good": true, "call": checked.call, "log": checked.log, "size": checked.size,
                "summary": checked.summary, "gaps": checked.gaps, "witnesses": witnesses,
            }),
        )?;
        return Ok(Exit::Ok);
    }
    let head = printer.paint(GOOD, "good");
    printer.line(&format!(
        "{head}: {} of `{}`, as of {} records",
        number(checked.records.len(), "record"),
        escape(&checked.log),
        checked.size
    ))?;
    for witness in &checked.witnesses {
        printer.line(&witness_line(witness))?;
    }
    let look = Look {
        colour: printer.colour(),
    };
    printer.raw(show::call(&checked.records, look).as_bytes())?;
    if let Some(first) = checked.gaps.first() {
        printer.warn(&format!(
            "host call {first} has no record here: it was refused before it had one, or it was left out"
        ));
    }
    Ok(Exit::Ok)
}

fn bad(why: &str, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("checked", &json!({"good": false, "why": why}))?;
    } else {
        let head = printer.paint(BAD, "bad");
        printer.line(&format!("{head}: {}", escape(why)))?;
    }
    Ok(Exit::Tampered)
}

fn witness_json(witness: &Cosignature) -> serde_json::Value {
    json!({"name": witness.name, "time": time_of(witness)})
}

fn witness_line(witness: &Cosignature) -> String {
    format!(
        "seen by `{}` at {}",
        escape(&witness.name),
        time_of(witness)
    )
}

fn time_of(witness: &Cosignature) -> String {
    rfc3339(std::time::Duration::from_secs(witness.time))
}

/// A C2SP tlog-proof whose extra data is the record's line.
fn proof(text: &str, keys: &[VerifierKey], printer: &mut Printer) -> Result<Exit, Fault> {
    let proof = match Proof::parse(text) {
        Ok(proof) => proof,
        Err(error) => return bad(&error.to_string(), printer),
    };
    let Some(line) = &proof.extra else {
        return Err(Fault::invalid("the proof does not have its record in it")
            .hint("`tollgate audit prove` makes one that has"));
    };
    let shows = proof.shows(&merkle::leaf(line), keys);
    let said = proof.note.cosignatures(keys);
    let (checkpoint, said) = match shows.and_then(|shows| Ok((shows, said?))) {
        Ok(shown) => shown,
        Err(error) => return bad(&error.to_string(), printer),
    };
    let record = match parse_line(line) {
        Ok(record) if record.seq.checked_sub(1) == Some(proof.index) => record,
        Ok(_) => {
            return bad(
                "the record has another number than its place in the log",
                printer,
            );
        }
        Err(error) => return bad(&error.to_string(), printer),
    };
    if printer.is_json() {
        let witnesses: Vec<_> = said.iter().map(witness_json).collect();
        printer.object(
            "checked",
            &json!({
                "good": true, "record": record.seq, "log": checkpoint.origin,
                "size": checkpoint.size, "line": String::from_utf8_lossy(line), "witnesses": witnesses,
            }),
        )?;
        return Ok(Exit::Ok);
    }
    let head = printer.paint(GOOD, "good");
    printer.line(&format!(
        "{head}: record {} of `{}`, as of {} records",
        record.seq,
        escape(&checkpoint.origin),
        checkpoint.size
    ))?;
    for witness in &said {
        printer.line(&witness_line(witness))?;
    }
    let look = Look {
        colour: printer.colour(),
    };
    printer.line(&show::line(&record, look))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::journal::forge::{Forge, save};

    /// L05: the key of today vouches for no record of yesterday, not in its own home either.
    #[test]
    fn a_proof_is_held_against_the_key_of_its_records_segment() {
        let today = 102;
        let with = |text: &str| {
            let mut forge = Forge::new(1);
            let record = forge.change(text);
            forge.rotate();
            let later = forge.change("today");
            forge.checkpoint();
            (forge, record, later)
        };
        let (forge, record, later) = with("yesterday");
        let (other, ..) = with("another yesterday");
        let folder = tempfile::tempdir().unwrap();
        save(&forge.files(), folder.path());
        let then = forge.notes[&1].last().unwrap();
        for (of, seq, note, code) in [
            (&forge, record, then, 0),
            (&forge, later, &forge.signed(today), 0),
            (&forge, record, &forge.signed(today), 6),
            (&other, record, &other.signed(today), 6),
        ] {
            let mut proof = of.proof(seq, note);
            proof.extra = Some(of.line(seq).into_bytes());
            let file = folder.path().join("proof");
            std::fs::write(&file, proof.to_string()).unwrap();
            let check = CheckFile {
                file,
                keys: Vec::new(),
                witnesses: Vec::new(),
            };
            let (mut printer, out, _) = Printer::buffers(Format::Human);
            let exit = run(&check, folder.path(), &mut printer).unwrap();
            assert_eq!(exit.code(), code, "{}", out.text());
        }
    }
}
