//! `tollgate agent`: who may connect.

use serde::Deserialize;

use super::args::Agent;
use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use super::table::Table;
use crate::control::AgentReport;
use crate::daemon::Command;
use crate::home::Home;
use crate::journal::escape;

/// The daemon's answer to `agent add`. It has no `Debug`: there is a token in it.
#[derive(Deserialize, serde::Serialize)]
struct Added {
    name: String,
    agent: String,
    token: String,
    expires: Option<String>,
    /// Until when the token before it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overlap: Option<String>,
}

pub(crate) fn run(command: Agent, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match command {
        Agent::Add { name, ttl } => {
            let command = Command::AgentAdd {
                name: name.to_string(),
                ttl: ttl.0.map(|ttl| ttl.as_secs()),
            };
            added(
                &client::ask_for(home, Absent::Starts, command, printer)?,
                printer,
            )
        }
        Agent::Rotate { name, ttl, overlap } => {
            let command = Command::AgentRotate {
                name: name.to_string(),
                ttl: ttl.0.map(|ttl| ttl.as_secs()),
                overlap: overlap.as_secs(),
            };
            rotated(
                &client::ask_for(home, Absent::Starts, command, printer)?,
                printer,
            )
        }
        Agent::List => {
            let agents: Vec<AgentReport> =
                client::ask_for(home, Absent::Starts, Command::AgentList {}, printer)?;
            list(&agents, printer)
        }
        Agent::Remove { name } => {
            let command = Command::AgentRemove {
                name: name.to_string(),
            };
            let answer = client::ask(home, Absent::Starts, command, printer, drop)?;
            if printer.is_json() {
                printer.object("removed", &answer)?;
            }
            printer.say(&format!(
                "removed `{}`: its token is worth nothing from now on",
                name.name()
            ));
            Ok(Exit::Ok)
        }
    }
}

fn added(added: &Added, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("agent", added)?;
        return Ok(Exit::Ok);
    }
    // The token alone is data, so that it can be piped to where it belongs.
    printer.line(&escape(&added.token))?;
    let until = until(added);
    printer.say(&format!(
        "the token of `{}`, good {until}; it is shown this once",
        escape(&added.name)
    ));
    printer.hint(&format!(
        "agents send it as `Authorization: Bearer <token>`; local clients need none: `tollgate serve --stdio --agent {}`",
        escape(&added.name)
    ));
    printer.hint(&format!(
        "it may call what policies allow: the shipped ones ask for the group `everyone`, and `policies/entities.json` says who is in it (`{}`)",
        escape(&added.agent)
    ));
    Ok(Exit::Ok)
}

fn rotated(added: &Added, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("agent", added)?;
        return Ok(Exit::Ok);
    }
    printer.line(&escape(&added.token))?;
    printer.say(&format!(
        "the new token of `{}`, good {}; it is shown this once",
        escape(&added.name),
        until(added)
    ));
    printer.say(&match &added.overlap {
        Some(end) => format!("the one before it is good until {}", escape(end)),
        None => String::from("the one before it is worth nothing from now on"),
    });
    Ok(Exit::Ok)
}

fn until(added: &Added) -> String {
    added.expires.as_ref().map_or_else(
        || String::from("until it is removed"),
        |end| format!("until {}", escape(end)),
    )
}

fn list(agents: &[AgentReport], printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for agent in agents {
            printer.object("agent", agent)?;
        }
        return Ok(Exit::Ok);
    }
    if agents.is_empty() {
        printer.say("there are no agents");
        printer.hint("run `tollgate agent add NAME`");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["NAME", "STATUS", "CREATED", "EXPIRES", "TOKEN"]);
    for agent in agents {
        let expires = match (&agent.removed, &agent.expires) {
            (Some(removed), _) => format!("removed {removed}"),
            (None, Some(expires)) => expires.clone(),
            (None, None) => String::from("never"),
        };
        let row = [
            &agent.name,
            &agent.status,
            &agent.created,
            &expires,
            &agent.token,
        ];
        table.row(row.map(|text| escape(text)));
    }
    table.print(printer)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn a_token_is_the_only_data() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let agent = Added {
            name: "claude".into(),
            agent: "spiffe://tollgate.local/agent/claude".into(),
            token: "tg_TOKEN".into(),
            expires: None,
            overlap: None,
        };
        let exit = added(&agent, &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 0
        tg_TOKEN
        ---
        the token of `claude`, good until it is removed; it is shown this once

        hint: agents send it as `Authorization: Bearer <token>`; local clients need none: `tollgate serve --stdio --agent claude`

        hint: it may call what policies allow: the shipped ones ask for the group `everyone`, and `policies/entities.json` says who is in it (`spiffe://tollgate.local/agent/claude`)
        "#);
    }

    #[test]
    fn agents_are_listed_with_what_became_of_them() {
        let agent = |name: &str, status: &str, removed: Option<&str>| AgentReport {
            name: name.into(),
            agent: format!("spiffe://tollgate.local/agent/{name}"),
            status: status.into(),
            created: "2026-01-01T00:00:00.000Z".into(),
            expires: None,
            removed: removed.map(str::to_owned),
            token: format!("agent_{name}"),
        };
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        let agents = [
            agent("claude", "active", None),
            agent("old", "removed", Some("2026-02-01T00:00:00.000Z")),
        ];
        list(&agents, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        NAME    STATUS   CREATED                   EXPIRES                           TOKEN
        claude  active   2026-01-01T00:00:00.000Z  never                             agent_claude
        old     removed  2026-01-01T00:00:00.000Z  removed 2026-02-01T00:00:00.000Z  agent_old
        "#);
    }
}
