//! Checkpoints in whatever they were kept in: a file of notes, a log with one on a line, a proof, a receipt.

use serde::Deserialize;

use crate::journal::note::{Note, NoteError};
use crate::journal::prove::{PROOF, Proof};

/// What stands before a checkpoint on one line.
pub const MARK: &str = "tollgate-checkpoint ";

/// A checkpoint on one line, for what takes lines: the note as a JSON string, after a mark to find it by.
#[must_use]
pub fn one_line(note: &str) -> String {
    format!("{MARK}{}", serde_json::Value::from(note))
}

/// Every checkpoint in `text`, in the order that they stand there: notes with empty lines between
/// them, lines as [`one_line`] makes them among others, a tlog-proof, or a receipt.
///
/// # Errors
///
/// Something in it starts as a checkpoint and is none.
pub fn read(text: &str) -> Result<Vec<Note>, NoteError> {
    if text.starts_with(PROOF) {
        return match Proof::parse(text) {
            Ok(proof) => Ok(vec![proof.note]),
            Err(_) => Err(NoteError::Form("it is a tlog-proof that can't be read")),
        };
    }
    if text.starts_with('{') {
        return of_receipt(text);
    }
    if text.contains(MARK) {
        return text.lines().filter_map(of_line).collect();
    }
    plain(text)
}

/// A receipt rests on checkpoints that somebody keeps with it.
fn of_receipt(text: &str) -> Result<Vec<Note>, NoteError> {
    #[derive(Deserialize)]
    struct Shown {
        proof: String,
    }
    #[derive(Deserialize)]
    struct Shows {
        keys: Vec<Shown>,
        records: Vec<Shown>,
    }
    let broken = || NoteError::Form("it is no receipt that can be read");
    let shows: Shows = serde_json::from_str(text).map_err(|_| broken())?;
    let mut notes = Vec::new();
    for shown in shows.keys.iter().chain(&shows.records) {
        let proof = Proof::parse(&shown.proof).map_err(|_| broken())?;
        if !notes.contains(&proof.note) {
            notes.push(proof.note);
        }
    }
    Ok(notes)
}

fn of_line(line: &str) -> Option<Result<Note, NoteError>> {
    let (_, rest) = line.split_once(MARK)?;
    // Whatever collects lines may add to the end of them.
    let text = serde_json::Deserializer::from_str(rest)
        .into_iter::<String>()
        .next()?;
    Some(match text {
        Ok(text) => Note::parse(text.as_bytes()),
        // A line that was never written to its end says nothing.
        Err(error) if error.is_eof() => return None,
        Err(_) => Err(NoteError::Form("a line with the mark has no text after it")),
    })
}

/// Notes one after the other. Each has an empty line in it and one after it, the last may lack that.
fn plain(text: &str) -> Result<Vec<Note>, NoteError> {
    let mut notes = Vec::new();
    let mut note = String::new();
    let mut empty = 0;
    for line in text.split_inclusive('\n') {
        if line == "\n" {
            empty += 1;
            if note.is_empty() {
                empty = 0;
                continue;
            }
            if empty == 2 {
                notes.push(Note::parse(note.as_bytes())?);
                note.clear();
                empty = 0;
                continue;
            }
        }
        note.push_str(line);
    }
    if !note.is_empty() {
        notes.push(Note::parse(note.as_bytes())?);
    }
    Ok(notes)
}
