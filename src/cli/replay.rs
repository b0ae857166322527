//! `tollgate replay`: a call again, on its tape. Needs no daemon, reaches nothing, and writes nothing
//! but compiled code.

mod compared;

use serde_json::{Value as Json, json};

use self::compared::{Compared, Pair};
use super::args::Replay;
use super::exit::Exit;
use super::fault::Fault;
use super::finding::number;
use super::offline::Loader;
use super::printer::{BAD, GOOD, Printer, STRONG};
use crate::digest::Digest;
use crate::entropy::SystemEntropy;
use crate::home::Home;
use crate::journal::record::{Event, Intent, Outcome, Record};
use crate::journal::{self, ReadError, escape};
use crate::plugin::{Content, component_files};
use crate::reason::Refusal;
use crate::runtime::Code;
use crate::tape::{Asked, Departure, Given, Player, Step, TapeError, Tapes};

pub(crate) async fn run(
    command: Replay,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let records = found(home, &command.call)?;
    let (intent, outcome, digest) = recorded(&records)?;
    let tapes = Tapes::new(home, std::sync::Arc::new(SystemEntropy));
    let tape = tapes.read(intent.call, digest).map_err(unusable)?;
    let fits = tape.head.plugin == intent.plugin
        && tape.head.tool == intent.tool.to_string()
        && intent.arguments.digest == Some(Digest::of(tape.head.arguments.as_bytes()));
    if !fits {
        return Err(Fault::new(
            Exit::Tampered,
            "the tape is of another tool, component or arguments than the journal has",
        ));
    }
    if command.steps {
        steps(&tape.steps, printer)?;
    }
    let loader = Loader::new(home)?;
    let code = code(&loader, home, &command, intent.plugin).await?;
    let limits = tape.head.limits.for_replay();
    let player = Box::new(Player::new(tape.steps.clone()));
    let replayed = loader
        .runtime()
        .replay(&code, &intent.tool, &tape.head.arguments, &limits, player)
        .await;
    let compared = Compared::of(&tape, outcome, &limits, replayed);
    let other_engine = tape.head.engine != loader.runtime().fit();
    if other_engine {
        printer.warn(&format!(
            "the tape was made by Tollgate {} with another engine, which may count fuel otherwise",
            escape(&tape.head.host)
        ));
    }
    compared.tell(intent, digest, printer)
}

/// The records of the call, from the journal or from one of before a restore.
fn found(home: &Home, call: &str) -> Result<Vec<Record>, Fault> {
    let earlier = std::fs::read_dir(home.earlier_journals());
    let mut earlier: Vec<_> = earlier
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    earlier.sort();
    let mut found = journal::call(&home.journal(), call);
    while matches!(found, Err(ReadError::NoCall(_))) {
        let Some(folder) = earlier.pop() else { break };
        match journal::call(&folder, call) {
            Err(ReadError::NoCall(_)) => {}
            other => found = other,
        }
    }
    found.map_err(unread)
}

/// What the journal has of the call, and the digest of its tape.
fn recorded(records: &[Record]) -> Result<(&Intent, &Outcome, Digest), Fault> {
    let intent = records.iter().find_map(|record| match &record.event {
        Event::Intent(intent) => Some(intent),
        _ => None,
    });
    let outcome = records.iter().find_map(|record| match &record.event {
        Event::Outcome(outcome) => Some(outcome),
        _ => None,
    });
    let Some((intent, outcome)) = intent.zip(outcome) else {
        return Err(Fault::invalid(
            "the call did not run, or is under way: there is nothing to replay",
        ));
    };
    match (outcome.tape, &outcome.untaped) {
        (Some(tape), _) => Ok((intent, outcome, tape)),
        (None, Some(why)) => Err(Fault::invalid(format!("the call has no tape: {why}"))),
        (None, None) => Err(Fault::invalid("the call was not taped").hint(format!(
            "for the next ones write `tape = true` under `[plugin.{}]` in `tollgate.toml`",
            intent.tool.plugin()
        ))),
    }
}

/// The component, from what the host compiled; else from `plugins/`, or the file that was named.
async fn code(
    loader: &Loader,
    home: &Home,
    command: &Replay,
    digest: Digest,
) -> Result<Code, Fault> {
    if let Some(kept) = loader.runtime().kept_code(digest) {
        return kept.map_err(refused);
    }
    let files = match &command.component {
        Some(file) => vec![file.clone()],
        None => component_files(&home.plugins())?.into_values().collect(),
    };
    for file in files {
        let Ok(bytes) = Content::read(&file).bytes else {
            continue;
        };
        if Digest::of(&bytes) == digest {
            let code = loader.runtime().code(digest, &bytes).await;
            return code.map_err(refused);
        }
    }
    Err(Fault::invalid(format!(
        "the component {digest} that ran is not here any more"
    ))
    .hint("name its file with `--component FILE`"))
}

fn refused(refusal: Refusal) -> Fault {
    let detail = refusal.detail.clone().unwrap_or_default();
    Fault::new(Exit::Failed, format!("{refusal} {detail}"))
}

impl Compared {
    fn tell(&self, intent: &Intent, tape: Digest, printer: &mut Printer) -> Result<Exit, Fault> {
        let exit = if self.is_identical() {
            Exit::Ok
        } else {
            Exit::Diverged
        };
        if printer.is_json() {
            printer.object("replay", &self.json(intent, tape))?;
            return Ok(exit);
        }
        let rows = [
            ("call", intent.call.to_string()),
            ("tool", intent.tool.to_string()),
            ("component", intent.plugin.to_string()),
            ("tape", tape.to_string()),
            ("host calls", format!("{} of {}", self.played, self.taped)),
            ("output", self.output.shown(printer)),
            ("fuel", self.fuel_shown(printer)),
        ];
        for (name, text) in rows {
            printer.line(&format!("{name:>11} {text}"))?;
        }
        for line in self.differences() {
            printer.line(&format!("{:>11} {}", "", escape(&line)))?;
        }
        let verdict = match (exit, self.stopped) {
            (Exit::Ok, None) => printer.paint(GOOD, "identical"),
            (Exit::Ok, Some(reason)) => {
                format!(
                    "{}, until it was stopped ({reason})",
                    printer.paint(GOOD, "identical")
                )
            }
            _ => printer.paint(BAD, "diverged"),
        };
        printer.line(&verdict)?;
        Ok(exit)
    }

    fn fuel_shown(&self, printer: &Printer) -> String {
        match self.fuel {
            None => "not compared: the call was stopped while it computed".to_owned(),
            Some((recorded, replayed)) => Pair {
                recorded: recorded.to_string(),
                replayed: replayed.to_string(),
            }
            .shown(printer),
        }
    }

    fn json(&self, intent: &Intent, tape: Digest) -> Json {
        json!({
            "call": intent.call, "tool": intent.tool, "plugin": intent.plugin, "tape": tape,
            "identical": self.is_identical(),
            "host_calls": {"taped": self.taped, "replayed": self.played},
            "output": {
                "recorded": self.output.recorded, "replayed": self.output.replayed,
                "identical": self.output.is_same(),
            },
            "fuel": self.fuel.map(|(recorded, replayed)| json!({
                "recorded": recorded, "replayed": replayed, "identical": recorded == replayed,
            })),
            "stopped": self.stopped,
            "differences": self.differences(),
        })
    }

    /// Where it left the tape, and what differs there. May hold what a plugin wrote.
    fn differences(&self) -> Vec<String> {
        match &self.departure {
            Some(Departure::Other {
                number,
                taped,
                asked,
            }) => {
                let mut lines = vec![format!(
                    "host call {number}: `{}` on the tape, `{}` in the replay",
                    taped.function.name(),
                    asked.function.name()
                )];
                lines.extend(fields(taped, asked));
                lines
            }
            Some(Departure::Further { number, asked }) => vec![format!(
                "host call {number}: none on the tape, `{}` in the replay",
                asked.function.name()
            )],
            Some(Departure::Stopped { number }) => vec![format!(
                "host call {number} has no answer on the tape: the call was stopped there"
            )],
            Some(Departure::Unreadable { number, asked }) => vec![format!(
                "host call {number}: the answer on the tape is none to `{}`",
                asked.function.name()
            )],
            None => self
                .missing
                .iter()
                .map(|asked| {
                    format!(
                        "host call {}: `{}` on the tape, none in the replay",
                        self.played + 1,
                        asked.function.name()
                    )
                })
                .collect(),
        }
    }
}

impl Pair {
    fn shown(&self, printer: &Printer) -> String {
        let (recorded, replayed) = (escape(&self.recorded), escape(&self.replayed));
        if self.is_same() {
            format!("{} {recorded}", printer.paint(GOOD, "identical"))
        } else {
            let differs = printer.paint(BAD, "differs");
            format!("{differs} recorded {recorded}, replayed {replayed}")
        }
    }
}

/// The parameters that differ, each with both values.
fn fields(taped: &Asked, asked: &Asked) -> Vec<String> {
    let (mut before, mut now) = (taped.fields.iter(), asked.fields.iter());
    let mut lines = Vec::new();
    loop {
        let (before, now) = (before.next(), now.next());
        if before.is_none() && now.is_none() {
            return lines;
        }
        if before != now {
            let shown = |field: Option<(&str, &crate::tape::Value)>| match field {
                Some((name, value)) => format!("{name} `{value}`"),
                None => "nothing".to_owned(),
            };
            lines.push(format!("tape: {}; replay: {}", shown(before), shown(now)));
        }
    }
}

/// Prints the host calls of a tape.
fn steps(steps: &[Step], printer: &mut Printer) -> Result<(), Fault> {
    for (index, step) in steps.iter().enumerate() {
        let name = step.asked.function.name();
        let given = match &step.given {
            Given::Answer(bytes) => number(bytes.len(), "byte"),
            Given::End(refusal) => refusal.to_string(),
            Given::Nothing => "nothing: the call was stopped".to_owned(),
        };
        if printer.is_json() {
            let fields: Vec<_> = step.asked.fields.iter().collect();
            let fields: Vec<Json> = fields
                .into_iter()
                .map(|(name, value)| json!({"name": name, "value": value.to_string()}))
                .collect();
            let line =
                json!({"number": index + 1, "function": name, "fields": fields, "given": given});
            printer.object("step", &line)?;
            continue;
        }
        let name = printer.paint(STRONG, name);
        printer.line(&format!("{:>5} {name} -> {}", index + 1, escape(&given)))?;
        for (name, value) in step.asked.fields.iter() {
            printer.line(&escape(&format!("      {name} {value}")))?;
        }
    }
    Ok(())
}

fn unread(error: ReadError) -> Fault {
    let fault = Fault::of(&error);
    match error {
        ReadError::NoCall(_) | ReadError::NotAnId(_) | ReadError::Ambiguous { .. } => fault
            .exit(Exit::Invalid)
            .hint("`tollgate audit tail` shows the last calls, each with the end of its id"),
        ReadError::Bad { .. } => fault
            .exit(Exit::Tampered)
            .hint("run `tollgate audit verify`"),
        _ => fault,
    }
}

fn unusable(error: TapeError) -> Fault {
    let fault = Fault::of(&error);
    if error.is_tampered() {
        return fault.exit(Exit::Tampered).hint(
            "nothing was run; what the call did stands in the journal: `tollgate audit show`",
        );
    }
    match error {
        TapeError::Missing(_) | TapeError::Version { .. } => fault.exit(Exit::Invalid),
        _ => fault,
    }
}

#[cfg(test)]
mod tests;
