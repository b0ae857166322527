//! The `progress` capability: reports to a client that asked for them.

use std::time::{Duration, Instant};

use crate::call::{Progress, ProgressSink};
use crate::json::clean_text;
use crate::runtime::CallState;
use crate::runtime::bindings::progress::Host;
use crate::tape::Function;

/// No client shows more than a few changes a second.
const LEAST_APART: Duration = Duration::from_millis(50);

/// Bytes of a report's message; it is one line on a screen.
const MESSAGE: usize = 512;

/// Where reports go, and what went last.
#[derive(Debug)]
pub(super) struct Reports {
    sink: Option<ProgressSink>,
    last: Option<(f64, Instant)>,
}

impl Reports {
    pub(super) const fn new(sink: Option<ProgressSink>) -> Self {
        Self { sink, last: None }
    }

    fn report(&mut self, report: Progress) {
        let Some(sink) = &self.sink else { return };
        let now = Instant::now();
        if !report.value.is_finite() || report.total.is_some_and(|total| !total.is_finite()) {
            return;
        }
        if let Some((value, at)) = self.last {
            let done = report.total.is_some_and(|total| report.value >= total);
            let soon = now.duration_since(at) < LEAST_APART;
            // The last one is passed on however soon it comes: it is the one that says that it is done.
            if report.value <= value || (soon && !done) {
                return;
            }
        }
        self.last = Some((report.value, now));
        (sink.0)(report);
    }
}

impl Host for CallState {
    fn report(
        &mut self,
        value: f64,
        total: Option<f64>,
        message: Option<String>,
    ) -> wasmtime::Result<()> {
        let asked = self.asks(Function::ProgressReport, |fields, _| {
            // Bit for bit: a NaN is none that a text could tell apart.
            fields.number("value", value.to_bits());
            fields.number("total", total.map_or(0, f64::to_bits));
            fields.text("message", message.as_deref().unwrap_or_default());
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.progress(value, total, message);
        self.answers(answer)
    }
}

impl CallState {
    fn progress(
        &mut self,
        value: f64,
        total: Option<f64>,
        message: Option<String>,
    ) -> wasmtime::Result<()> {
        let (_, context) = self.parts()?;
        context.count("progress", message.as_ref().map_or(0, String::len))?;
        let message = message.map(|mut message| {
            clean_text(&mut message);
            message.retain(|c| !c.is_control());
            let (message, _) = context.lent.redact(&message);
            let mut text = String::new();
            for c in message.chars() {
                if text.len() + c.len_utf8() > MESSAGE {
                    break;
                }
                text.push(c);
            }
            text
        });
        context.reports.report(Progress {
            value,
            total,
            message,
        });
        Ok(())
    }
}
