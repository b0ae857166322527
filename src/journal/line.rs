//! One record as one line, in the one form that it has.
//!
//! A line starts with `v`, `seq`, `time` and `prev`, each in a fixed form, then the event with its
//! `kind` first. Whatever could end a line, move a cursor, or change how the line is displayed is
//! escaped: control characters (C0, DEL, C1), line and paragraph separators, bidirectional and
//! invisible ones. A line is valid only if it is byte for byte what would be written for what was
//! read from it: so a duplicate key, an unknown field, other spacing or another spelling of the same
//! text are all refused, at any depth, and two readers can't read one line differently.
//!
//! INVARIANT: within version 1 a field is added only as optional and left out when absent, and none
//! is reordered, since older lines must go on being what would be written.

use std::io::Write as _;

use serde::de::DeserializeOwned;

use super::record::{Event, Record, VERSION};
use crate::digest::Digest;
use crate::json::plain;

/// The most bytes that a line may have, newline included.
///
/// A call's record with a full view is about 4 KiB, 14 KiB where every character is escaped. This
/// leaves room for a decision by hundreds of policies, and bounds the memory of every reader.
pub const MAX_LINE: usize = 256 << 10;

/// Bytes of `2026-11-22T13:22:08.123Z`.
const TIME_LEN: usize = 24;

/// What stands in the place of a leaf before the first line.
pub(super) const ORIGIN: Digest = Digest::from_bytes([0; 32]);

/// Why a line is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLine(pub(super) String);

fn bad<T>(why: &str) -> Result<T, BadLine> {
    Err(BadLine(why.to_owned()))
}

/// Appends the event to `out`, as a JSON object with its `kind` first.
pub(super) fn write_event(event: &Event, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    plain::write(event, out)
}

/// `text` as it stands in a line, with its quotes.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    // Writing text into memory can't fail.
    let _ = plain::write(text, &mut out);
    out
}

/// Puts a line together; `event` is what [`write_event`] wrote. The newline is part of it.
pub(super) fn assemble(seq: u64, time: &str, prev: &[u8; 64], event: &[u8], out: &mut Vec<u8>) {
    out.clear();
    // Writing into memory can't fail.
    let _ = write!(out, "{{\"v\":{VERSION},\"seq\":{seq},\"time\":\"{time}\"");
    out.extend_from_slice(b",\"prev\":\"sha256:");
    out.extend_from_slice(prev);
    out.extend_from_slice(b"\",");
    out.extend_from_slice(event.strip_prefix(b"{").unwrap_or(event));
    out.push(b'\n');
}

/// The hexadecimal digits of a digest, without an allocation.
pub(super) fn hex(digest: &Digest) -> [u8; 64] {
    let mut digits = [b'0'; 64];
    // The lengths agree.
    let _ = hex::encode_to_slice(digest.as_bytes(), &mut digits);
    digits
}

/// Reads the record of a line, given without its newline.
///
/// # Errors
///
/// It is no record in the one form that it has.
pub fn parse(line: &[u8]) -> Result<Record, BadLine> {
    Head::read(line)?.record()
}

/// A line's own fields, and where its event is: what can be said of it without reading the event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) seq: u64,
    pub(super) time: &'a str,
    pub(super) prev: Digest,
    pub(super) kind: &'a str,
    /// The event from its kind on, with the closing brace behind, but without the opening one.
    event: &'a [u8],
    /// Its members after the kind, with a comma before.
    members: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads the head of a line, given without its newline.
    pub(super) fn read(line: &'a [u8]) -> Result<Self, BadLine> {
        let Some(rest) = line.strip_prefix(b"{\"v\":") else {
            return bad("not a record: it doesn't start with `{\"v\":`");
        };
        let (version, rest) = number(rest)?;
        if version != u64::from(VERSION) {
            return Err(BadLine(format!(
                "version {version} of the format is not known to this host, which reads {VERSION}"
            )));
        }
        let (seq, rest) = number(expect(rest, b",\"seq\":")?)?;
        let (time, rest) = split(expect(rest, b",\"time\":\"")?, TIME_LEN)?;
        let time = checked_time(time)?;
        let (digits, rest) = split(expect(rest, b"\",\"prev\":\"sha256:")?, 64)?;
        let Some(prev) = Digest::from_hex(digits) else {
            return bad("`prev` is not a digest in lower case");
        };
        let event = expect(rest, b"\",")?;
        let rest = expect(event, b"\"kind\":\"")?;
        let length = rest.iter().position(|b| *b == b'"').unwrap_or(rest.len());
        let (kind, rest) = split(rest, length)?;
        let members = expect(rest, b"\"")?;
        let Ok(kind) = std::str::from_utf8(kind) else {
            return bad("`kind` is not text");
        };
        Ok(Self {
            seq,
            time,
            prev,
            kind,
            event,
            members,
        })
    }

    /// The text of the id of the call that it is about: where there is one, it comes first.
    pub(super) fn call(&self) -> Option<&'a str> {
        let rest = self.members.strip_prefix(b",\"call\":\"")?;
        std::str::from_utf8(rest.get(..36)?).ok()
    }

    /// Reads the whole record.
    pub(super) fn record(&self) -> Result<Record, BadLine> {
        Ok(Record {
            event: self.checked()?,
            seq: self.seq,
            time: self.time.to_owned(),
            prev: self.prev,
        })
    }

    /// The event, where it stands in the one form that it has.
    pub(super) fn checked(&self) -> Result<Event, BadLine> {
        let event = self.event()?;
        // The opening brace stands at the start of the line, before its own fields.
        if plain::is_written_as(&event, [b"{", self.event]) {
            Ok(event)
        } else {
            bad(
                "not in the one form that a record has: a key twice, a field unknown, or text spelt otherwise",
            )
        }
    }

    fn event(&self) -> Result<Event, BadLine> {
        // Of the whole at once, and not of each text in it.
        let Ok(members) = std::str::from_utf8(self.members) else {
            return bad("not a record: it is not text in UTF-8");
        };
        let members = members.strip_prefix(',').unwrap_or(members);
        // Each by its own type: the tagged enumeration would copy everything first.
        match self.kind {
            "started" => read(members).map(Event::Started),
            "recovered" => read(members).map(Event::Recovered),
            "stopped" if self.members == b"}" => Ok(Event::Stopped {}),
            "stopped" => bad("`stopped` has no fields"),
            "changed" => read(members).map(Event::Changed),
            "task-started" => read(members).map(Event::TaskStarted),
            "revocation" => read(members).map(Event::Revocation),
            "intent" => read(members).map(Event::Intent),
            "refusal" => read(members).map(Event::Refusal),
            "hold" => read(members).map(Event::Hold),
            "host-call" => read(members).map(Event::HostCall),
            "host-call-outcome" => read(members).map(Event::HostCallOutcome),
            "outcome" => read(members).map(Event::Outcome),
            "approval-asked" => read(members).map(Event::ApprovalAsked),
            "approval-answered" => read(members).map(Event::ApprovalAnswered),
            "approval-used" => read(members).map(Event::ApprovalUsed),
            "approval-ended" => read(members).map(Event::ApprovalEnded),
            "lease" => read(members).map(Event::Lease),
            "segment-opened" => read(members).map(Event::SegmentOpened),
            "segment-closed" => read(members).map(Event::SegmentClosed),
            "heartbeat" if self.members == b"}" => Ok(Event::Heartbeat {}),
            "heartbeat" => bad("`heartbeat` has no fields"),
            _ => bad("`kind` is not one that this host knows"),
        }
    }
}

fn read<T: DeserializeOwned>(members: &str) -> Result<T, BadLine> {
    plain::read_members(members).map_err(|error| BadLine(super::escape::escape(&error.to_string())))
}

fn expect<'a>(text: &'a [u8], what: &[u8]) -> Result<&'a [u8], BadLine> {
    text.strip_prefix(what).ok_or_else(|| {
        let what = String::from_utf8_lossy(what);
        BadLine(format!("not a record: expected `{what}`"))
    })
}

fn split(text: &[u8], at: usize) -> Result<(&[u8], &[u8]), BadLine> {
    text.split_at_checked(at)
        .ok_or_else(|| BadLine(String::from("not a record: it ends early")))
}

/// A number without sign or leading zeros.
fn number(text: &[u8]) -> Result<(u64, &[u8]), BadLine> {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = split(text, length)?;
    let value = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .filter(|_| digits.len() == 1 || !digits.starts_with(b"0"));
    value.map_or_else(|| bad("not a record: expected a number"), |v| Ok((v, rest)))
}

fn checked_time(text: &[u8]) -> Result<&str, BadLine> {
    let form = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = form.iter().zip(text).all(|(form, b)| {
        if *form == b'd' {
            b.is_ascii_digit()
        } else {
            b == form
        }
    });
    match std::str::from_utf8(text) {
        Ok(time) if fits => Ok(time),
        _ => bad("`time` is not RFC 3339 with milliseconds, in UTC"),
    }
}

/// At least what a line has beyond its event: version, number, time, `prev` and newline.
pub(super) const HEAD_ROOM: usize = 192;
