//! The `log` capability, and where a guest's standard output and error end up: the host's log,
//! bounded, escaped and labelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::Level;

use crate::journal::escape_bytes;
use crate::journal::record::CallId;
use crate::name::PluginName;
use crate::runtime::CallState;
use crate::runtime::bindings::log::{Host, Level as WitLevel};
use crate::secret::Lent;
use crate::tape::Function;

/// A line is cut here.
const LINE: usize = 4 << 10;

/// The log of one instance.
#[derive(Debug)]
pub(crate) struct GuestLog {
    plugin: PluginName,
    call: Option<CallId>,
    lent: Lent,
    left: AtomicUsize,
    dropped: AtomicUsize,
}

impl GuestLog {
    /// A log that takes `bytes` in all, and redacts what is in `lent`.
    pub(crate) fn new(
        plugin: PluginName,
        call: Option<CallId>,
        lent: Lent,
        bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            call,
            lent,
            left: AtomicUsize::new(bytes),
            dropped: AtomicUsize::new(0),
        })
    }

    /// Writes one line, which the guest controls.
    pub(crate) fn write(&self, level: Level, message: &str) {
        let cost = message.len().clamp(64, LINE);
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(cost)
            });
        if taken.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (message, _) = self.lent.redact(message);
        let line = line(&message, LINE);
        let plugin = self.plugin.as_str();
        let call = self.call.map(|call| call.to_string());
        // `tracing` takes a level only as a constant.
        match level {
            Level::ERROR => tracing::error!(target: "guest", plugin, call, "{line}"),
            Level::WARN => tracing::warn!(target: "guest", plugin, call, "{line}"),
            Level::INFO => tracing::info!(target: "guest", plugin, call, "{line}"),
            Level::DEBUG => tracing::debug!(target: "guest", plugin, call, "{line}"),
            Level::TRACE => tracing::trace!(target: "guest", plugin, call, "{line}"),
        }
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        let dropped = *self.dropped.get_mut();
        if dropped > 0 {
            let call = self.call.map(|call| call.to_string());
            tracing::warn!(
                plugin = self.plugin.as_str(),
                call,
                dropped,
                "lines of a guest were dropped: limit `log_bytes` reached"
            );
        }
    }
}

/// `text` on one line of at most `longest` bytes, fit for a terminal; it says where it was cut.
fn line(text: &str, longest: usize) -> String {
    let (mut line, cut) = escape_bytes(text.as_bytes(), longest);
    if cut {
        line.push('…');
    }
    line
}

impl crate::runtime::bindings::types::Host for CallState {}

impl Host for CallState {
    fn write(&mut self, level: WitLevel, message: String) -> wasmtime::Result<()> {
        let asked = self.asks(Function::LogWrite, |fields, _| {
            fields.text("level", said(level));
            fields.text("message", &message);
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.log_line(level, &message);
        self.answers(answer)
    }
}

/// The level, as the contract has it.
const fn said(level: WitLevel) -> &'static str {
    match level {
        WitLevel::Trace => "trace",
        WitLevel::Debug => "debug",
        WitLevel::Info => "info",
        WitLevel::Warn => "warn",
        WitLevel::Error => "error",
    }
}

impl CallState {
    fn log_line(&mut self, level: WitLevel, message: &str) -> wasmtime::Result<()> {
        let (_, context) = self.parts()?;
        context.count("log", message.len())?;
        let level = match level {
            WitLevel::Trace => Level::TRACE,
            WitLevel::Debug => Level::DEBUG,
            WitLevel::Info => Level::INFO,
            WitLevel::Warn => Level::WARN,
            WitLevel::Error => Level::ERROR,
        };
        context.log().write(level, message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_can_not_paint() {
        assert_eq!(line("a\nb\u{1b}[31m é 日", 100), "a\\nb\\u{1b}[31m é 日");
        assert_eq!(line("\u{202e}x", 100), "\\u{202e}x");
        // An invisible letter is shown as well: two lines that look alike are alike.
        assert_eq!(line("a\u{200b}b", 100), "a\\u{200b}b");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(line("éééé", 4), "éé…");
    }
}
