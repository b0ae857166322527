//! All that a command prints: data to standard output, talk to standard error.
//!
//! Nothing else in the program writes to either (lints see to it), so three things hold everywhere:
//! text from outside is escaped before a terminal gets it, `--quiet` and `--format json` mean the
//! same for each command, and a reader that goes away ends the command without an error.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{Colour, Format, Global};
use super::exit::Exit;
use super::fault::Fault;
use crate::journal::escape;
use crate::json::plain;

/// The version of the lines that `--format json` prints.
const VERSION: u32 = 1;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WAIT: Style = AnsiColor::Yellow.on_default();
pub(crate) const STRONG: Style = Style::new().bold();

/// Where a command prints.
pub(crate) struct Printer {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    format: Format,
    quiet: bool,
    /// Whether standard output and standard error take colour.
    colour: (bool, bool),
    progress: MultiProgress,
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").finish_non_exhaustive()
    }
}

impl Printer {
    /// The process's own streams.
    pub(crate) fn new(global: &Global) -> Self {
        use std::io::IsTerminal as _;
        let (out, err) = (io::stdout(), io::stderr());
        let takes = |choice: anstream::ColorChoice| !matches!(choice, anstream::ColorChoice::Never);
        let colour = match global.color {
            Colour::Always => (true, true),
            Colour::Never => (false, false),
            // Looks at the terminal, NO_COLOR, CLICOLOR and CLICOLOR_FORCE.
            Colour::Auto => (
                takes(anstream::AutoStream::choice(&out)),
                takes(anstream::AutoStream::choice(&err)),
            ),
        };
        let target = if global.quiet || !err.is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Self {
            out: Box::new(out),
            err: Box::new(err),
            format: global.format,
            quiet: global.quiet,
            colour,
            progress: MultiProgress::with_draw_target(target),
        }
    }

    /// Buffers in the place of the streams.
    #[cfg(test)]
    pub(crate) fn buffers(format: Format) -> (Self, Buffer, Buffer) {
        let (out, err) = (Buffer::default(), Buffer::default());
        let printer = Self {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            format,
            quiet: false,
            colour: (false, false),
            progress: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        };
        (printer, out, err)
    }

    /// Whether data is to be printed as JSON lines.
    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Whether standard output takes colour.
    pub(crate) const fn colour(&self) -> bool {
        self.colour.0
    }

    /// Whether standard error takes colour.
    pub(crate) const fn colour_of_talk(&self) -> bool {
        self.colour.1
    }

    /// Bars of progress. Hidden unless standard error is a terminal.
    pub(crate) fn progress(&self) -> MultiProgress {
        self.progress.clone()
    }

    /// `text` in a style, for standard output. Nothing is said by colour alone.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colour.0, style, text)
    }

    /// A line of data for people. `text` is escaped already.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Fault> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Bytes of data, as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let out = &mut self.out;
        self.progress
            .suspend(|| out.write_all(bytes).and_then(|()| out.flush()))
            .map_err(closed)
    }

    /// A line of data for programs: the members of `value`, after the version and the line's type.
    pub(crate) fn object(&mut self, kind: &str, value: &impl Serialize) -> Result<(), Fault> {
        let mut line = json!({"v": VERSION, "type": kind});
        if let (Some(line), Value::Object(members)) =
            (line.as_object_mut(), serde_json::to_value(value)?)
        {
            // The first two are this program's word; a member can't take their place.
            for (key, value) in members {
                line.entry(key).or_insert(value);
            }
        }
        let mut text = Vec::new();
        plain::write(&line, &mut text)?;
        text.push(b'\n');
        self.raw(&text)
    }

    /// Talk: what a person may like to know, and no program needs.
    pub(crate) fn say(&mut self, text: &str) {
        if !self.quiet {
            self.talk(text);
        }
    }

    /// Something that is probably not what was meant.
    pub(crate) fn warn(&mut self, text: &str) {
        let head = paint(self.colour.1, WAIT.bold(), "warning:");
        self.say(&format!("{head} {text}"));
    }

    /// A hint, after an empty line.
    pub(crate) fn hint(&mut self, text: &str) {
        let head = paint(self.colour.1, STRONG, "hint:");
        self.say(&format!("\n{head} {text}"));
    }

    /// Shows why the command did not do its work; says how the process ends.
    pub(crate) fn fault(&mut self, fault: &Fault) -> Exit {
        if fault.pipe_closed {
            return Exit::Ok;
        }
        let message = escape(&fault.message);
        if self.is_json() {
            let line = json!({
                "v": VERSION, "type": "error", "message": message,
                "hint": fault.hint.as_deref().map(escape), "exit": fault.exit.code(),
            });
            self.talk(&line.to_string());
            return fault.exit;
        }
        let head = paint(self.colour.1, BAD.bold(), "error:");
        self.talk(&format!("{head} {message}"));
        if let Some(hint) = &fault.hint {
            let head = paint(self.colour.1, STRONG, "hint:");
            self.talk(&format!("\n{head} {}", escape_lines(hint)));
        }
        fault.exit
    }

    /// Nothing can be done about a standard error that takes nothing.
    fn talk(&mut self, text: &str) {
        let err = &mut self.err;
        self.progress.suspend(|| {
            drop(err.write_all(format!("{text}\n").as_bytes()));
            drop(err.flush());
        });
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour && !text.is_empty() {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

fn closed(error: io::Error) -> Fault {
    let mut fault = Fault::of(&error).context("can't write to standard output");
    fault.pipe_closed = error.kind() == io::ErrorKind::BrokenPipe;
    fault
}

/// Text from outside, over several lines: line ends and tabs stay, and whatever else a terminal
/// would act upon is written as `\u{..}`.
pub(crate) fn escape_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive(['\n', '\t']) {
        let end = part
            .chars()
            .next_back()
            .filter(|c| matches!(c, '\n' | '\t'));
        let body = match end {
            Some(end) => part.strip_suffix(end).unwrap_or(part),
            None => part,
        };
        let body = match end {
            Some('\n') => body.strip_suffix('\r').unwrap_or(body),
            _ => body,
        };
        out.push_str(&escape(body));
        out.extend(end);
    }
    out
}

/// Writes lines of the log to standard error, above bars of progress instead of through them.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter(pub(crate) MultiProgress);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Bytes that are shared by who writes and who looks.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffer(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Buffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let fault = Fault::new(
            Exit::Unreachable,
            "the daemon is not running: no `\u{1b}[31mx`",
        )
        .hint("run `tollgate serve`");
        let exit = printer.fault(&fault);
        insta::assert_snapshot!(format!("exit {}\n{}{}", exit.code(), out.text(), err.text()), @r"
        exit 4
        error: the daemon is not running: no `\u{1b}[31mx`

        hint: run `tollgate serve`
        ");
    }

    #[test]
    fn an_error_is_one_line_for_programs() {
        let (mut printer, out, err) = Printer::buffers(Format::Json);
        let exit = printer.fault(&Fault::invalid("no\nsuch thing"));
        assert_eq!(exit, Exit::Invalid);
        assert_eq!(out.text(), "");
        insta::assert_snapshot!(err.text(), @r#"{"v":1,"type":"error","message":"no\\nsuch thing","hint":null,"exit":3}"#);
    }

    #[test]
    fn a_member_cannot_take_the_place_of_the_version() {
        let (mut printer, out, _) = Printer::buffers(Format::Json);
        printer
            .object("plugin", &json!({"v": 9, "type": "x", "name": "a\u{1b}"}))
            .unwrap();
        insta::assert_snapshot!(out.text(), @r#"{"v":1,"type":"plugin","name":"a\u001b"}"#);
    }

    #[test]
    fn lines_stay_and_the_rest_is_escaped() {
        assert_eq!(
            escape_lines("a\r\nb\tc\u{1b}]0;x\u{7}\rd\u{202e}"),
            "a\nb\tc\\u{1b}]0;x\\u{7}\\rd\\u{202e}"
        );
    }

    #[derive(Debug)]
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let (mut printer, _, err) = Printer::buffers(Format::Human);
        printer.out = Box::new(Gone);
        let fault = printer.line("x").unwrap_err();
        assert_eq!(printer.fault(&fault), Exit::Ok);
        assert_eq!(err.text(), "");
    }
}
