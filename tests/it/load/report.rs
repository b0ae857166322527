//! What a run says at its end.

use std::fmt;
use std::time::Duration;

use super::Form;
use super::process::Look;

/// What was done, and what it took.
pub(super) struct Report {
    pub(super) form: Form,
    /// How long the clients called once the host was warm, and how long each answer took then.
    pub(super) took: Duration,
    pub(super) times: Vec<Duration>,
    /// Answers, in all; of these, refusals.
    pub(super) answers: usize,
    pub(super) refused: usize,
    /// Calls that were cut off; of these, those that had begun.
    pub(super) sent: usize,
    pub(super) recorded: usize,
    /// Requests that reached the upstream.
    pub(super) reached: usize,
    /// Before the load, once it is warm, at its end, and after it.
    pub(super) rest: Look,
    pub(super) warm: Look,
    pub(super) full: Look,
    pub(super) back: Look,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        writeln!(
            f,
            "{} clients for {seconds:.1} s, beside {} idle streams, {} slow readers and {} that are cut off",
            self.form.clients, self.form.waiting, self.form.slow, self.form.cut
        )?;
        writeln!(
            f,
            "calls        {} in that time, {:.0} a second; p50 {:.1?}, p99 {:.1?}, slowest {:.1?}",
            self.times.len(),
            self.times.len() as f64 / seconds,
            within(&self.times, 50),
            within(&self.times, 99),
            within(&self.times, 100)
        )?;
        writeln!(
            f,
            "answers      {}, each with its record ({} refused); {} calls cut off, {} of them begun, each with its end; {} requests upstream",
            self.answers, self.refused, self.sent, self.recorded, self.reached
        )?;
        let [rest, warm, full, back] = [self.rest, self.warm, self.full, self.back];
        writeln!(
            f,
            "memory       {} at rest, {} under load, {} at its end, {} after it",
            mebibytes(rest.resident),
            mebibytes(warm.resident),
            mebibytes(full.resident),
            mebibytes(back.resident)
        )?;
        writeln!(
            f,
            "descriptors  {} at rest, {} under load, {} after it; threads {}, {}, {}",
            rest.sockets + rest.files,
            full.sockets + full.files,
            back.sockets + back.files,
            rest.threads,
            full.threads,
            back.threads
        )
    }
}

/// The time within which so many of a hundred calls were answered.
fn within(times: &[Duration], of: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * of / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

/// Bytes, as people read them.
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
