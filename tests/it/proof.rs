//! The journal against whoever edits its files, and against a disk and a power that fail: by the public
//! interface, on a real file system.

mod failing;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::clock::{Clock, SystemClock};
use tollgate::journal::record::{Changed, Event};
use tollgate::journal::storage::{Disk, Name, Storage as _};
use tollgate::journal::{
    BadPlace, Journal, OpenError, Options, Reader, Recovery, verify, verify_in,
};
use tollgate::reason::{Reason, Refusal};

use self::failing::{Failing, Fault};
use crate::attacks::stands_for;
use crate::harness::binary::run;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;
const EMFILE: i32 = 24;

/// Small segments that stay as they are.
fn options() -> Options {
    Options {
        segment_bytes: 2000,
        keep: None,
        ..Options::new(Arc::new(SystemClock))
    }
}

fn changed(text: &str) -> Event {
    Event::Changed(Changed {
        change: String::from("config.loaded"),
        detail: Some(text.repeat(8)),
        ..Changed::default()
    })
}

/// A good log of several segments, in a home.
struct Log {
    folder: tempfile::TempDir,
    home: tollgate::home::Home,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = tollgate::home::Home::at(folder.path()).unwrap();
        let log = Self { folder, home };
        let (journal, _) = Journal::open(log.path(), options()).unwrap();
        for number in 0..24 {
            journal.append(&changed(&format!("{number:04}"))).unwrap();
        }
        drop(journal);
        assert_eq!(log.bad(), None);
        assert!(log.segments().len() > 4);
        log
    }

    fn path(&self) -> PathBuf {
        self.home.journal()
    }

    fn bad(&self) -> Option<BadPlace> {
        verify(&self.path(), |_| ()).unwrap().first_bad
    }

    fn segments(&self) -> Vec<u64> {
        Disk::new(self.path()).list().unwrap()
    }

    fn file(&self, name: Name) -> PathBuf {
        self.path().join(name.to_string())
    }

    fn lines(&self, first: u64) -> Vec<String> {
        let text = std::fs::read_to_string(self.file(Name::Lines(first))).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    /// What `verify` says once the lines of a segment are these; they are put back.
    fn with(&self, first: u64, lines: &[String]) -> Option<BadPlace> {
        let file = self.file(Name::Lines(first));
        let before = std::fs::read(&file).unwrap();
        std::fs::write(&file, lines.concat()).unwrap();
        let bad = self.bad();
        std::fs::write(&file, before).unwrap();
        bad
    }
}

#[tokio::test]
pub(crate) async fn a_changed_byte_is_named_by_file_and_line() {
    let _row = stands_for("L01");
    let log = Log::new();
    let middle = log.segments()[2];
    let lines = log.lines(middle);
    let at = lines
        .iter()
        .position(|line| line.contains("config.loaded"))
        .unwrap();
    let changed = lines[at].replacen("config.loaded", "config.loadee", 1);
    let mut edited = lines.clone();
    edited[at] = changed;
    let bad = log.with(middle, &edited).unwrap();
    let file = Name::Lines(middle).to_string();
    assert_eq!(
        (bad.file.as_str(), bad.line),
        (file.as_str(), at as u64 + 1)
    );
    // As a person sees it.
    std::fs::write(log.file(Name::Lines(middle)), edited.concat()).unwrap();
    let said = run(&log.home, &["audit", "verify"]).await;
    assert_eq!(said.code, 6, "{said:?}");
    assert!(
        said.out.contains(&format!("`{file}`, line {}", at + 1)),
        "{said:?}"
    );
    drop(log.folder);
}

#[test]
pub(crate) fn a_line_removed_added_or_moved_is_named() {
    let _row = stands_for("L02");
    let log = Log::new();
    for first in log.segments() {
        let lines = log.lines(first);
        for at in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(at);
            assert!(log.with(first, &without).is_some(), "{first}: without {at}");
            let mut twice = lines.clone();
            twice.insert(at, lines[at].clone());
            let bad = log.with(first, &twice).unwrap();
            assert_eq!(bad.line, at as u64 + 2);
            if at > 0 {
                let mut swapped = lines.clone();
                swapped.swap(at - 1, at);
                assert_eq!(log.with(first, &swapped).unwrap().line, at as u64);
            }
        }
    }
}

#[test]
pub(crate) fn a_segment_or_all_that_is_gone_shows() {
    let _row = stands_for("L04");
    let log = Log::new();
    let segments = log.segments();
    for first in &segments {
        let file = log.file(Name::Lines(*first));
        let aside = log.folder.path().join("aside");
        std::fs::rename(&file, &aside).unwrap();
        assert!(log.bad().is_some(), "{first}");
        std::fs::rename(&aside, &file).unwrap();
    }
    for first in segments {
        for name in [Name::Lines(first), Name::Checkpoints(first)] {
            std::fs::remove_file(log.file(name)).unwrap();
        }
    }
    let bad = log.bad().unwrap();
    assert!(bad.why.contains("it is gone"), "{bad}");
    // And no host goes on as if there had been nothing.
    assert!(matches!(
        Journal::open(log.path(), options()),
        Err(OpenError::Key(_))
    ));
}

#[test]
pub(crate) fn a_forged_line_must_be_a_record_in_its_one_form() {
    let _row = stands_for("L09");
    let log = Log::new();
    let last = *log.segments().last().unwrap();
    let lines = log.lines(last);
    let at = lines.len() - 1;
    let good = lines[at].clone();
    // Behind the last checkpoint, where nothing but its form tells it apart.
    std::fs::write(log.file(Name::Checkpoints(last)), "").unwrap();
    assert_eq!(log.bad(), None);
    for (from, to) in [
        ("\"kind\":", "\"kind\":\"stopped\",\"kind\":"),
        ("{\"v\":1,", "{\"v\":1,\"v\":1,"),
        ("{\"v\":1,", "{\"v\":2,"),
        ("{\"v\":1,", "{ \"v\":1,"),
        (
            "\"change\":\"config.loaded\"",
            "\"change\":\"config.loaded\",\"more\":1",
        ),
        (
            "\"change\":\"config.loaded\"",
            "\"change\":\"a\",\"change\":\"config.loaded\"",
        ),
        ("config.loaded", "config\\u002eloaded"),
        ("\"kind\":\"changed\"", "\"kind\":\"changes\""),
    ] {
        let mut forged = lines.clone();
        forged[at] = good.replacen(from, to, 1);
        assert_ne!(forged[at], good);
        let bad = log.with(last, &forged).unwrap();
        assert_eq!(bad.line, at as u64 + 1, "{bad}");
    }
}

/// A clock that a test sets.
#[derive(Debug, Default)]
struct Seconds(AtomicU64);

impl Clock for Seconds {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[test]
pub(crate) fn a_clock_that_is_set_back_is_told_and_orders_nothing() {
    let _row = stands_for("L13");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let clock = Arc::new(Seconds(AtomicU64::new(1_795_305_600)));
    let settings = Options {
        clock: clock.clone(),
        ..options()
    };
    let (journal, _) = Journal::open(&path, settings).unwrap();
    journal.append(&changed("a")).unwrap();
    clock.0.fetch_sub(86_400, Ordering::SeqCst);
    let back = journal.append(&changed("b")).unwrap().seq();
    drop(journal);
    let report = verify(&path, |_| ()).unwrap();
    assert!(report.is_good());
    assert_eq!((report.set_back, report.first_set_back), (1, Some(back)));
    let mut reader = Reader::new(&path);
    let mut order = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        order.push(record.seq);
    }
    assert!(order.iter().copied().eq(1..=back));
}

#[test]
pub(crate) fn a_log_made_to_exhaust_its_reader_ends_at_its_first_bad_line() {
    let _row = stands_for("L15");
    let log = Log::new();
    let first = log.segments()[0];
    std::fs::remove_file(log.file(Name::Lines(first))).unwrap();
    for byte in [b'x', b'\n', 0] {
        // 256 MiB within some KiB.
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let piece = vec![byte; 1 << 20];
        for _ in 0..256 {
            bomb.write_all(&piece).unwrap();
        }
        std::fs::write(log.file(Name::Packed(first)), bomb.finish().unwrap()).unwrap();
        let report = verify(&log.path(), |_| ()).unwrap();
        assert_eq!(report.first_bad.unwrap().line, 1);
        // It did not go on to the end of it.
        assert!(
            report.bytes < 16 << 20,
            "{} bytes were looked at",
            report.bytes
        );
    }
}

/// The journal at `path`. A process that another test starts has this one's files until it is another program,
/// and with them the lock.
fn opened(path: &Path) -> (Journal, Recovery) {
    let began = std::time::Instant::now();
    loop {
        match Journal::open(path, options()) {
            Err(OpenError::Locked) if began.elapsed().as_secs() < 30 => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

/// The log as it is after a fault: whole, and gone on with.
fn goes_on(path: &Path, at_least: u64) {
    // Before the first record there is no log: nothing, or keys that have signed nothing.
    if at_least > 0 {
        let left = verify(path, |_| ()).unwrap();
        assert_eq!(left.first_bad, None);
    }
    let (journal, recovery) = opened(path);
    assert!(recovery.seq >= at_least);
    let later = journal.append(&changed("later")).unwrap().seq();
    drop(journal);
    let report = verify(path, |_| ()).unwrap();
    assert_eq!((report.first_bad, report.torn_tail), (None, 0));
    assert!(report.records >= later);
    assert_eq!(report.signed, report.records);
}

/// Appends over a rotation on a disk whose operation `at` fails, and everything after it where the
/// process dies of it. Whether it was reached, and the last record that was promised.
async fn over_a_rotation(path: &Path, at: u64, fault: Fault) -> (bool, u64) {
    let disk = Arc::new(Failing::new(path, at, fault));
    let mut promised = 0;
    let Ok((journal, _)) = Journal::open_in(disk.clone(), options()) else {
        return (disk.reached(), promised);
    };
    for number in 0..12 {
        let Ok(position) = journal.append(&changed(&format!("{number:04}"))) else {
            break;
        };
        if journal.durable(position).await.is_err() {
            break;
        }
        promised = position.seq();
    }
    let _ = journal.close().await;
    (disk.reached(), promised)
}

#[tokio::test]
pub(crate) async fn a_host_that_dies_at_any_point_of_a_rotation_leaves_a_whole_log() {
    let _row = stands_for("D04");
    let mut at = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (reached, promised) = over_a_rotation(&path, at, Fault::Dies).await;
        if !reached {
            break;
        }
        goes_on(&path, promised);
        at += 1;
    }
    assert!(at > 60, "only {at} operations");
}

#[tokio::test]
pub(crate) async fn the_first_failed_sync_is_the_last() {
    let _row = stands_for("D06");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let disk = Arc::new(Failing::new(&path, u64::MAX, Fault::Syncs(EIO)));
    let (journal, _) = Journal::open_in(disk.clone(), options()).unwrap();
    let first = journal.append(&changed("a")).unwrap();
    journal.durable(first).await.unwrap();
    disk.fail_once_from_now();
    let second = journal.append(&changed("b")).unwrap();
    assert!(journal.durable(second).await.is_err());
    // The disk reports success from now on, and nothing is done any more.
    let syncs = disk.syncs();
    assert!(!journal.is_healthy());
    assert!(journal.append(&changed("c")).is_err());
    assert!(journal.durable(second).await.is_err());
    let told = journal.failure().borrow().clone().unwrap().to_string();
    assert!(told.contains("a sync failed"), "{told}");
    assert!(journal.close().await.is_err());
    drop(journal);
    assert_eq!(disk.syncs(), syncs, "it is not tried again");
    journal_says_so(&path);
    goes_on(&path, first.seq());
}

/// Nothing that came after the failure is there.
fn journal_says_so(path: &Path) {
    let mut reader = Reader::new(path);
    let mut details = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        if let Event::Changed(changed) = record.event {
            details.extend(changed.detail);
        }
    }
    assert!(!details.contains(&"c".repeat(8)), "{details:?}");
}

#[tokio::test]
pub(crate) async fn a_journal_that_can_not_be_written_refuses_everything() {
    let _row = stands_for("L14");
    for code in [ENOSPC, EROFS, EIO, EMFILE] {
        let mut at = 0;
        let mut outcomes: BTreeMap<bool, u64> = BTreeMap::new();
        loop {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            let disk = Arc::new(Failing::new(&path, at, Fault::Once(code)));
            let opened = Journal::open_in(disk.clone(), options());
            let mut promised = 0;
            if let Ok((journal, _)) = opened {
                let mut failed = None;
                for number in 0..8 {
                    let appended = journal.append(&changed(&format!("{number:04}")));
                    let done = match appended {
                        Ok(position) => journal.durable(position).await.map(|()| position.seq()),
                        Err(error) => Err(error),
                    };
                    match (done, &failed) {
                        (Ok(seq), None) => promised = seq,
                        (Ok(_), Some(_)) => panic!("it was unwritable, and went on"),
                        (Err(error), _) => failed = Some(error),
                    }
                }
                if let Some(error) = failed {
                    let refusal = Refusal::from(error);
                    assert_eq!(refusal.reason, Reason::JournalUnavailable);
                    *outcomes.entry(true).or_default() += 1;
                }
                let _ = journal.close().await;
            }
            if !disk.reached() {
                break;
            }
            *outcomes.entry(false).or_default() += 1;
            goes_on(&path, promised);
            at += 1;
        }
        assert!(
            outcomes[&true] > 20 && outcomes[&false] > 40,
            "{outcomes:?}"
        );
    }
}

#[test]
pub(crate) fn a_torn_end_is_cut_and_that_is_written_down() {
    let _row = stands_for("D02");
    for torn in [
        b"{\"v\":1,\"seq\":".to_vec(),
        vec![0; 4096],
        [b"{\"v\":1,\"seq\":9".as_slice(), &[0; 700], b"\n"].concat(),
    ] {
        let log = Log::new();
        let last = *log.segments().last().unwrap();
        let file = log.file(Name::Lines(last));
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, [whole.as_slice(), &torn].concat()).unwrap();
        cut(&log, &file, &whole, torn.len() as u64);
    }
    // A block of another place, where the power took the checkpoints with it.
    let log = Log::new();
    let last = *log.segments().last().unwrap();
    let file = log.file(Name::Lines(last));
    let whole = std::fs::read(&file).unwrap();
    let block = whole[100..600].to_vec();
    std::fs::write(&file, [whole.as_slice(), &block].concat()).unwrap();
    std::fs::write(log.file(Name::Checkpoints(last)), "").unwrap();
    cut(&log, &file, &whole, block.len() as u64);
}

fn cut(log: &Log, file: &Path, whole: &[u8], torn: u64) {
    let (journal, recovery) = Journal::open(log.path(), options()).unwrap();
    assert_eq!(recovery.cut_bytes, torn);
    drop(journal);
    let after = std::fs::read(file).unwrap();
    assert!(after.starts_with(whole), "what was whole is as it was");
    let report = verify_in(&Disk::new(log.path()), &[], |_| ()).unwrap();
    assert_eq!((report.first_bad, report.torn_tail), (None, 0));
    let mut reader = Reader::new(&log.path());
    let mut said = None;
    while let Some(record) = reader.next_record().unwrap() {
        if let Event::Recovered(recovered) = record.event {
            said = Some(recovered.cut_bytes);
        }
    }
    assert_eq!(said, Some(torn));
}
