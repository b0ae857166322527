//! `tollgate token`: tokens for one step, and hand-offs.

use std::io::Read as _;

use serde::{Deserialize, Serialize};

use super::args::Token;
use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use crate::daemon::{Command, MintCommand};
use crate::home::Home;
use crate::identity::{MAX_STEP, narrow};
use crate::journal::escape;

/// The daemon's answer. It has no `Debug`: there is a token in it.
#[derive(Deserialize, Serialize)]
struct Made {
    id: String,
    token: String,
    kind: String,
    agent: String,
    tool: Option<String>,
    task: Option<String>,
    to: Option<String>,
    expires: String,
}

pub(crate) fn run(command: Token, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match command {
        Token::Step(make) if make.to.is_some() => Err(Fault::invalid(
            "a token for one step is for its own agent: `--to` goes with `tollgate token handoff`",
        )),
        Token::Handoff(make) if make.to.is_none() => Err(Fault::invalid(
            "a hand-off is for another agent: name it with `--to`",
        )),
        Token::Step(make) | Token::Handoff(make) => {
            let ask = MintCommand {
                agent: make.agent.to_string(),
                tool: make.tool,
                arguments: make.arguments,
                values: make.values,
                task: make.task.map(|task| task.to_string()),
                to: make.to.map(|to| to.to_string()),
                ttl: make.ttl.map(|ttl| ttl.as_secs()),
            };
            let made: Made =
                client::ask_for(home, Absent::Starts, Command::TokenMint(ask), printer)?;
            tell(&made, printer)
        }
        Token::Narrow { checks } => {
            let mut text = String::new();
            // From standard input: an argument is read by everyone who can list processes.
            let most = u64::try_from(MAX_STEP)
                .unwrap_or(u64::MAX)
                .saturating_add(2);
            std::io::stdin().take(most).read_to_string(&mut text)?;
            let narrowed = narrow(text.trim(), &checks)
                .map_err(|fault| Fault::invalid(fault.what).hint(
                    "give the token on standard input; a check is Datalog, such as `check if argument(\"/path\", \"a.txt\")`",
                ))?;
            printer.line(&narrowed)?;
            Ok(Exit::Ok)
        }
        Token::RotateKey { at_once } => {
            let command = Command::TokenRotateKey { at_once };
            let answer = client::ask(home, Absent::Starts, command, printer, drop)?;
            if printer.is_json() {
                printer.object("key", &answer)?;
            }
            printer.say(if at_once {
                "a new key makes the tokens; those that there are are void"
            } else {
                "a new key makes the tokens; those that there are are good until they expire"
            });
            Ok(Exit::Ok)
        }
    }
}

fn tell(made: &Made, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("token", made)?;
        return Ok(Exit::Ok);
    }
    // The token alone is data, so that it can be piped to where it belongs.
    printer.line(&escape(&made.token))?;
    let (id, until) = (escape(&made.id), escape(&made.expires));
    match &made.to {
        None => printer.say(&format!("`{id}`: one call, once, until {until}")),
        Some(to) => {
            printer.say(&format!(
                "`{id}`: for `{}` alone, until {until}",
                escape(to)
            ));
            printer.hint("it goes beside that agent's own token, as the header `Tollgate-Handoff`");
        }
    }
    Ok(Exit::Ok)
}
