//! What the system says of a process.

use std::fs;
use std::time::{Duration, Instant};

/// By when something is as it should be: beyond what the runtime keeps an idle thread for, several times.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process.
pub(super) struct Process {
    id: u32,
}

/// What it has at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Bytes of memory that are there.
    pub(super) resident: u64,
    pub(super) threads: u64,
    /// Descriptors of connections and of what takes them.
    pub(super) sockets: usize,
    /// All the others.
    pub(super) files: usize,
}

impl Process {
    pub(super) const fn of(id: u32) -> Self {
        Self { id }
    }

    pub(super) fn look(&self) -> Look {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let number = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.unwrap().parse().unwrap()
        };
        let mut look = Look {
            resident: number("VmRSS:") * 1_024,
            threads: number("Threads:"),
            sockets: 0,
            files: 0,
        };
        for entry in fs::read_dir(format!("/proc/{}/fd", self.id)).unwrap() {
            // One that was closed meanwhile is none.
            match entry.and_then(|entry| fs::read_link(entry.path())) {
                Ok(to) if to.to_string_lossy().starts_with("socket:") => look.sockets += 1,
                Ok(_) => look.files += 1,
                Err(_) => {}
            }
        }
        look
    }

    /// Looks until it is so.
    pub(super) async fn once(&self, is_so: impl Fn(&Look) -> bool, what: &str) -> Look {
        let began = Instant::now();
        loop {
            let now = self.look();
            if is_so(&now) {
                return now;
            }
            assert!(began.elapsed() < PATIENCE, "not so: {what}: {now:?}");
            // Another process tells nobody when it closes something.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
