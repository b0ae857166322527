//! The `client` capability: what the client of a call can be asked, and what it and others are told.
//!
//! It needs no requirement, since it reaches nobody whom the result does not reach: lines go to the
//! client that asked for them, redacted and bounded. Notices hold nothing but whose list changed; that of
//! a resource holds a URI of the plugin's own, and goes to those who subscribed to it and may read it.

use crate::call::{ClientSide, LogLevel, LogLine, Notice, What};
use crate::json;
use crate::plugin::QuestionKind;
use crate::runtime::CallState;
use crate::runtime::bindings::client::{Host, Level, Offers};
use crate::tape::{Function, Reader, Taped, Writer};

/// Bytes of one line.
const LINE: usize = 4 << 10;
/// Bytes of a logger's name.
const LOGGER: usize = 128;
/// Notices of one call.
const NOTICES: u32 = 16;
/// Bytes of a URI.
const URI: usize = 2 << 10;

/// The client's side of a call, and what it was told.
#[derive(Debug)]
pub(super) struct Told {
    side: ClientSide,
    /// Bytes of lines that are left.
    left: usize,
    notices: u32,
}

impl Told {
    pub(super) const fn new(side: ClientSide, left: usize) -> Self {
        Self {
            side,
            left,
            notices: 0,
        }
    }

    pub(super) fn offers(&self) -> &[QuestionKind] {
        &self.side.offers
    }

    /// Whether the client gets a line of this level and so many bytes.
    fn takes(&mut self, level: LogLevel, bytes: usize) -> bool {
        let wanted = self.side.log.as_ref().is_some_and(|log| level >= log.least);
        if !wanted || bytes > LINE {
            return false;
        }
        // A line costs something even where it says nothing.
        match self.left.checked_sub(bytes.max(64)) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

const fn level(said: Level) -> LogLevel {
    match said {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Notice => LogLevel::Notice,
        Level::Warning => LogLevel::Warning,
        Level::Error => LogLevel::Error,
        Level::Critical => LogLevel::Critical,
        Level::Alert => LogLevel::Alert,
        Level::Emergency => LogLevel::Emergency,
    }
}

impl Taped for Offers {
    fn write(&self, to: &mut Writer) {
        for flag in [Self::FORM, Self::URL, Self::SAMPLING, Self::ROOTS] {
            self.contains(flag).write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut offers = Self::empty();
        for flag in [Self::FORM, Self::URL, Self::SAMPLING, Self::ROOTS] {
            if bool::read(from)? {
                offers |= flag;
            }
        }
        Some(offers)
    }
}

impl Host for CallState {
    fn offers_of_client(&mut self) -> wasmtime::Result<Offers> {
        if let Some(answer) = self.asks(Function::ClientOffers, |_, _| {})? {
            return Ok(answer);
        }
        let answer = self.client_offers();
        self.answers(answer)
    }

    fn log(&mut self, level: Level, logger: Option<String>, data: String) -> wasmtime::Result<()> {
        let asked = self.asks(Function::ClientLog, |fields, _| {
            fields.number("level", level as u64);
            fields.text("logger", logger.as_deref().unwrap_or_default());
            fields.text("data", &data);
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.client_line(level, logger, &data);
        self.answers(answer)
    }

    fn tools_changed(&mut self) -> wasmtime::Result<()> {
        if let Some(answer) = self.asks(Function::ClientToolsChanged, |_, _| {})? {
            return Ok(answer);
        }
        let answer = self.notice(What::Tools, 0);
        self.answers(answer)
    }

    fn prompts_changed(&mut self) -> wasmtime::Result<()> {
        if let Some(answer) = self.asks(Function::ClientPromptsChanged, |_, _| {})? {
            return Ok(answer);
        }
        let answer = self.notice(What::Prompts, 0);
        self.answers(answer)
    }

    fn resources_changed(&mut self) -> wasmtime::Result<()> {
        if let Some(answer) = self.asks(Function::ClientResourcesChanged, |_, _| {})? {
            return Ok(answer);
        }
        let answer = self.notice(What::Resources, 0);
        self.answers(answer)
    }

    fn resource_updated(&mut self, uri: String) -> wasmtime::Result<()> {
        let asked = self.asks(Function::ClientResourceUpdated, |fields, _| {
            fields.text("uri", &uri);
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let bytes = uri.len();
        let answer = self.notice(What::Resource(uri), bytes);
        self.answers(answer)
    }
}

impl CallState {
    fn client_offers(&mut self) -> wasmtime::Result<Offers> {
        let (_, context) = self.parts()?;
        context.count("client", 0)?;
        let mut offers = Offers::empty();
        for kind in context.client.offers() {
            offers |= match kind {
                QuestionKind::Form => Offers::FORM,
                QuestionKind::Url => Offers::URL,
                QuestionKind::Sampling => Offers::SAMPLING,
                QuestionKind::Roots => Offers::ROOTS,
            };
        }
        Ok(offers)
    }

    fn client_line(
        &mut self,
        said: Level,
        logger: Option<String>,
        data: &str,
    ) -> wasmtime::Result<()> {
        let (_, context) = self.parts()?;
        context.count("client", data.len())?;
        let level = level(said);
        if !context.client.takes(level, data.len()) {
            return Ok(());
        }
        let bounds = json::Limits {
            bytes: LINE,
            depth: 16,
            nodes: 1_000,
        };
        let Ok(mut data) = json::parse_any_number(data.as_bytes(), &bounds) else {
            return Ok(());
        };
        // One line on a screen, or several: but nothing that paints, and nothing that hides a secret from the
        // search for it.
        json::clean(&mut data);
        context.lent.redact_json(&mut data);
        let logger = logger.map(|mut logger| {
            json::clean_text(&mut logger);
            logger.retain(|c| !c.is_control());
            let (clean, _) = context.lent.redact(&logger);
            clean.chars().take(LOGGER).collect()
        });
        if let Some(log) = &context.client.side.log {
            (log.sink)(LogLine {
                level,
                logger,
                data,
            });
        }
        Ok(())
    }

    fn notice(&mut self, what: What, bytes: usize) -> wasmtime::Result<()> {
        let (_, context) = self.parts()?;
        context.count("client", bytes)?;
        if context.client.notices >= NOTICES || bytes > URI {
            return Ok(());
        }
        context.client.notices += 1;
        let notice = Notice {
            plugin: context.facts.tool.plugin().clone(),
            what,
        };
        // Nobody listens: then there is nobody to tell.
        let _ = context.services.notices.send(notice);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::call::LogSink;

    fn told(least: Option<LogLevel>, left: usize) -> Told {
        let log = least.map(|least| LogSink {
            least,
            sink: Arc::new(|_| {}),
        });
        let side = ClientSide {
            log,
            ..ClientSide::default()
        };
        Told::new(side, left)
    }

    #[test]
    fn a_line_goes_to_who_asked_for_it_and_no_further_than_its_bound() {
        assert!(!told(None, 1 << 10).takes(LogLevel::Emergency, 1));
        let mut warnings = told(Some(LogLevel::Warning), 1 << 10);
        assert!(!warnings.takes(LogLevel::Notice, 1));
        assert!(warnings.takes(LogLevel::Warning, 1));
        assert!(warnings.takes(LogLevel::Alert, 1));
        assert!(!warnings.takes(LogLevel::Alert, LINE + 1));
        let mut few = told(Some(LogLevel::Debug), 130);
        assert!(few.takes(LogLevel::Debug, 1));
        assert!(few.takes(LogLevel::Debug, 64));
        assert!(!few.takes(LogLevel::Debug, 0));
    }
}
