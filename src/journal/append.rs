//! Putting the next line at the end of the log.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::bound;
use super::line::{self, MAX_LINE};
use super::record::Event;
use super::storage::{Lock, LogFile, Storage};
use super::writer::{Options, Unwritable};
use crate::clock::rfc3339;
use crate::digest::Digest;

/// 9999-12-30T22:00:00Z, the last hour that is in range in every time zone: a clock beyond it must
/// not break the log.
const LAST_TIME: Duration = Duration::from_secs(253_402_207_200);

/// Where the log ends: what the next line needs to know.
#[derive(Debug)]
pub(super) struct End {
    pub(super) file: Arc<dyn LogFile>,
    pub(super) bytes: u64,
    pub(super) seq: u64,
    pub(super) prev: Digest,
}

/// What is needed to put the next line at the end.
#[derive(Debug)]
pub(super) struct Writer {
    end: End,
    /// `end.prev`, in digits.
    prev: [u8; 64],
    storage: Arc<dyn Storage>,
    options: Options,
    buffer: Vec<u8>,
    /// The last time that was written and its text: most lines share their millisecond with another.
    time: (Duration, String),
    lock: Option<Box<dyn Lock>>,
}

impl Writer {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        options: Options,
        end: End,
        lock: Box<dyn Lock>,
    ) -> Self {
        Self {
            prev: line::hex(&end.prev),
            end,
            storage,
            options,
            buffer: Vec::with_capacity(4096),
            time: (Duration::MAX, String::new()),
            lock: Some(lock),
        }
    }

    /// The segment that is written to: with it synced, everything is.
    pub(super) fn file(&self) -> Arc<dyn LogFile> {
        Arc::clone(&self.end.file)
    }

    /// The last record.
    pub(super) const fn seq(&self) -> u64 {
        self.end.seq
    }

    /// Lets the next process in.
    pub(super) fn give_back(&mut self) {
        self.lock = None;
    }

    pub(super) fn append(&mut self, event: &[u8]) -> io::Result<u64> {
        self.set_time();
        let seq = self.end.seq + 1;
        line::assemble(seq, &self.time.1, &self.prev, event, &mut self.buffer);
        let bytes = self.buffer.len() as u64;
        if self.end.bytes > 0 && self.end.bytes + bytes > self.options.segment_bytes {
            self.next_segment(seq)?;
        }
        write_all(&*self.end.file, &self.buffer)?;
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        self.end.prev = Digest::from_bytes(Sha256::digest(line).into());
        self.prev = line::hex(&self.end.prev);
        self.end.seq = seq;
        self.end.bytes += bytes;
        Ok(seq)
    }

    /// The old segment is synced before the new one is made, so that only the last one can ever be
    /// torn. Everyone waits for that sync, once in 64 MiB.
    fn next_segment(&mut self, first: u64) -> io::Result<()> {
        self.end.file.sync()?;
        self.end.file = self.storage.create(first)?;
        self.end.bytes = 0;
        Ok(())
    }

    fn set_time(&mut self) {
        let now = self.options.clock.now().min(LAST_TIME);
        let now =
            Duration::from_secs(now.as_secs()) + Duration::from_millis(now.subsec_millis().into());
        if self.time.0 != now {
            self.time = (now, rfc3339(now));
        }
    }
}

/// One `write(2)`, unless the kernel takes less than it was given.
fn write_all(file: &dyn LogFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Serialises outside of any lock, in memory that the thread keeps.
pub(super) fn with_event<T>(
    event: &Event,
    then: impl FnOnce(&[u8]) -> Result<T, Unwritable>,
) -> Result<T, Unwritable> {
    /// What a thread keeps from one record to the next; larger ones are rare.
    const KEPT: usize = 16 << 10;
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.with(RefCell::take);
    buffer.clear();
    let written = match line::write_event(event, &mut buffer) {
        Ok(()) if buffer.len() + line::HEAD_ROOM <= MAX_LINE => Ok(()),
        Ok(()) => {
            buffer.clear();
            line::write_event(&bound::bounded(event), &mut buffer)
        }
        Err(error) => Err(error),
    };
    let result = match written {
        Ok(()) if buffer.len() + line::HEAD_ROOM <= MAX_LINE => then(&buffer),
        // Only this record is refused; nothing was written, so the next one can be.
        Ok(()) => Err(Unwritable::new("a record is too large")),
        Err(error) => Err(Unwritable::new(format!("a record has no text: {error}"))),
    };
    buffer.shrink_to(KEPT);
    BUFFER.with(|kept| kept.replace(buffer));
    result
}
