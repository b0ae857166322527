//! Lines from segments, one after the other, in bounded memory.

use std::io::{self, BufRead as _, BufReader, Read};

use super::line::MAX_LINE;

/// What a segment gives next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line, without its newline.
    Line(&'a [u8]),
    /// Bytes at the end without a newline: torn, or being written.
    Partial(&'a [u8]),
    /// More bytes than a line may have.
    TooLong,
    /// Nothing more, for now.
    End,
}

/// Reads the lines of one segment.
pub(super) struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    /// `line` ends before a newline, and is gone on with.
    partial: bool,
    /// Where it ends: the next one starts here.
    end: u64,
    /// Its number in the segment, from 1.
    number: u64,
}

impl Lines {
    pub(super) fn new(segment: Box<dyn Read + Send>) -> Self {
        Self {
            // A few hundred records for each call of the kernel.
            reader: BufReader::with_capacity(256 << 10, segment),
            line: Vec::with_capacity(4096),
            partial: false,
            end: 0,
            number: 0,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        if !self.partial {
            self.line.clear();
        }
        let room = (MAX_LINE + 1).saturating_sub(self.line.len()) as u64;
        let read = (&mut self.reader)
            .take(room)
            .read_until(b'\n', &mut self.line)?;
        self.end += read as u64;
        if self.line.is_empty() {
            return Ok(Next::End);
        }
        if !self.partial {
            self.number += 1;
        }
        if let Some(line) = self.line.strip_suffix(b"\n") {
            self.partial = false;
            return Ok(Next::Line(line));
        }
        self.partial = true;
        if self.line.len() > MAX_LINE {
            return Ok(Next::TooLong);
        }
        Ok(Next::Partial(&self.line))
    }

    /// Goes on behind the next newline, after a line that is too long.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        self.line.clear();
        self.partial = false;
        loop {
            let buffer = self.reader.fill_buf()?;
            let found = buffer.iter().position(|b| *b == b'\n');
            let read = found.map_or(buffer.len(), |at| at + 1);
            self.reader.consume(read);
            self.end += read as u64;
            if found.is_some() || read == 0 {
                return Ok(());
            }
        }
    }

    /// The bytes of the line last given.
    pub(super) fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }

    /// Whether it has no end, at least not yet.
    pub(super) const fn is_partial(&self) -> bool {
        self.partial
    }

    /// Where it ends.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Its number in the segment, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
