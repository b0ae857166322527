//! `tollgate client`: a client's configuration, written or printed.
//!
//! What goes into another program's file is data all the way: an array of words, never a line for a shell,
//! and no text of any plugin. What a client would replace in it (`${HOME}`) is refused rather than escaped,
//! since each client has rules of its own. No token is ever written: over HTTP the file names a variable.

mod file;
mod jsonc;
mod known;
mod toml;

use serde_json::{Value, json};

use self::file::Written;
use self::known::{Form, Places, Server};
use super::args::{ClientCommand, ClientEntry};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use crate::home::Home;
use crate::journal::escape;

pub(crate) use self::known::Client;

/// What the file can't be.
#[derive(Debug, PartialEq, Eq)]
struct Broken(String);

pub(crate) fn run(
    command: &ClientCommand,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let places = Places::of_this_process()?;
    match command {
        ClientCommand::Print { entry } => print(entry, home, &places, printer),
        ClientCommand::Add {
            entry,
            replace,
            file,
        } => {
            let path = match file {
                Some(path) => path.clone(),
                None => entry.client.file(&places, entry.project)?,
            };
            let wanted = server(entry, home)?;
            let written = file::put(&path, entry.client.form(), &entry.name, &wanted, *replace)?;
            added(entry, &path, written, &wanted, printer)
        }
    }
}

/// What the client's file gets.
fn server(entry: &ClientEntry, home: &Home) -> Result<Value, Fault> {
    if !crate::name::is_plain(&entry.name) {
        return Err(Fault::invalid(format!(
            "`{}` can't be the name of a server: use 1 to 64 letters, digits, `_` and `-`",
            escape(&entry.name)
        )));
    }
    let server = match (&entry.http, &entry.token_variable) {
        (Some(url), Some(variable)) => Server::Http {
            url: plain_url(url)?,
            variable: plain_variable(variable)?,
        },
        _ => {
            let program = std::env::current_exe()?;
            let agent = match &entry.agent {
                Some(agent) => agent.name().to_owned(),
                None => entry.client.name().to_owned(),
            };
            let mut args = vec![
                String::from("--home"),
                entry.client.word(home.root())?,
                String::from("serve"),
                String::from("--stdio"),
                String::from("--agent"),
                agent,
            ];
            if let Some(task) = &entry.task {
                args.extend([String::from("--task"), task.to_string()]);
            }
            Server::Stdio {
                command: entry.client.word(&program)?,
                args,
            }
        }
    };
    entry.client.entry(&server)
}

fn plain_url(text: &str) -> Result<String, Fault> {
    let good = url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    });
    // What a URL may have and a client may replace; no server's URL needs it.
    if good && !text.contains(['$', '{', '}', '%']) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Fault::invalid(format!(
        "`{}` is not the URL of a server, such as `http://127.0.0.1:8787/mcp`",
        escape(text)
    )))
}

fn plain_variable(text: &str) -> Result<String, Fault> {
    let mut letters = text.bytes();
    let first = letters.next();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && letters.all(plain) {
        return Ok(text.to_owned());
    }
    Err(Fault::invalid(format!(
        "`{}` can't be the name of a variable: use letters, digits and `_`",
        escape(text)
    )))
}

fn print(
    entry: &ClientEntry,
    home: &Home,
    places: &Places,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let wanted = server(entry, home)?;
    let path = entry.client.file(places, entry.project)?;
    let form = entry.client.form();
    let text = match form {
        Form::Json(table) => {
            let whole = json!({table: {entry.name.as_str(): wanted}});
            serde_json::to_string_pretty(&whole)?
        }
        Form::Toml(table) => toml::put("", table, &entry.name, &wanted)
            .map_err(|Broken(why)| Fault::new(Exit::Failed, why))?
            .trim_end()
            .to_owned(),
    };
    if printer.is_json() {
        printer.object(
            "client",
            &json!({
                "client": entry.client.name(), "file": path.display().to_string(), "name": entry.name, "server": wanted,
            }),
        )?;
        return Ok(Exit::Ok);
    }
    printer.say(&format!("for `{}`:", escape(&path.display().to_string())));
    for line in text.lines() {
        printer.line(&escape(line))?;
    }
    Ok(Exit::Ok)
}

fn added(
    entry: &ClientEntry,
    path: &std::path::Path,
    written: Written,
    wanted: &Value,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let shown = escape(&path.display().to_string());
    if printer.is_json() {
        let backup = match &written {
            Written::Changed { backup } => backup.as_ref().map(|path| path.display().to_string()),
            Written::Same => None,
        };
        printer.object(
            "client",
            &json!({
                "client": entry.client.name(), "file": path.display().to_string(), "name": entry.name, "server": wanted,
                "changed": matches!(written, Written::Changed { .. }), "backup": backup,
            }),
        )?;
        return Ok(Exit::Ok);
    }
    match written {
        Written::Same => {
            printer.say(&format!(
                "`{}` is in `{shown}` already, as it should be",
                entry.name
            ));
            return Ok(Exit::Ok);
        }
        Written::Changed { backup } => {
            printer.say(&format!("put `{}` into `{shown}`", entry.name));
            if let Some(backup) = backup {
                printer.say(&format!(
                    "what it was before is in `{}`",
                    escape(&backup.display().to_string())
                ));
            }
        }
    }
    printer.hint(&match (&entry.http, &entry.agent) {
        (Some(_), _) => String::from(
            "the variable has to hold the token of an agent (`tollgate agent add NAME`) where the client is started",
        ),
        (None, agent) => {
            let agent = agent.as_ref().map_or(entry.client.name(), |agent| agent.name());
            format!(
                "it speaks as the agent `{agent}`: if there is none of that name yet, run `tollgate agent add {agent}`"
            )
        }
    });
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests;
