//! `tollgate secret`: values go in, and never come out.

use std::io::{IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use super::args::Secret;
use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use super::prompt;
use super::table::Table;
use crate::control::SecretReport;
use crate::daemon::{Command, SecretText};
use crate::home::Home;
use crate::journal::escape;
use crate::secret::MAX_VALUE;

pub(crate) fn run(command: Secret, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match command {
        Secret::Set { plugin, name } => {
            let value = SecretText::new(read(&format!("value of `{plugin}/{}`: ", escape(&name)))?);
            let command = Command::SecretSet {
                plugin: plugin.to_string(),
                name: name.clone(),
                value,
            };
            let answer = client::ask(home, Absent::Starts, command, printer, drop)?;
            if printer.is_json() {
                printer.object("set", &answer)?;
            }
            printer.say(&format!("set `{plugin}/{}`", escape(&name)));
            Ok(Exit::Ok)
        }
        Secret::List => {
            let secrets: Vec<SecretReport> =
                client::ask_for(home, Absent::Starts, Command::SecretList {}, printer)?;
            list(&secrets, printer)
        }
        Secret::Rm { plugin, name } => {
            let command = Command::SecretRemove {
                plugin: plugin.to_string(),
                name: name.clone(),
            };
            let answer = client::ask(home, Absent::Starts, command, printer, drop)?;
            if printer.is_json() {
                printer.object("removed", &answer)?;
            }
            printer.say(&format!("removed `{plugin}/{}`", escape(&name)));
            Ok(Exit::Ok)
        }
    }
}

/// The value, from a terminal without showing it, or from standard input whole. One line end at the
/// end is not part of it: `echo` and editors put it there.
fn read(question: &str) -> Result<String, Fault> {
    let unreadable = |error: std::io::Error| {
        Fault::of(&error)
            .context("can't read the value")
            .exit(Exit::Invalid)
    };
    if std::io::stdin().is_terminal() {
        return prompt::hidden(question).map_err(unreadable);
    }
    // Room for all of it at once: a buffer that grows leaves copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE + 64));
    std::io::stdin()
        .take(MAX_VALUE as u64 + 3)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    text_of(&bytes)
}

fn text_of(bytes: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Fault::invalid("the value is not text (UTF-8)")
            .hint("encode it, for example as base64, if its user takes that")
    })?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.len() > MAX_VALUE {
        return Err(Fault::invalid(format!(
            "a secret's value has at most {MAX_VALUE} bytes"
        )));
    }
    if line.is_empty() {
        return Err(Fault::invalid("the value is empty")
            .hint("give it on standard input, as in `tollgate secret set PLUGIN NAME < file`"));
    }
    Ok(line.to_owned())
}

fn list(secrets: &[SecretReport], printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for secret in secrets {
            printer.object("secret", secret)?;
        }
        return Ok(Exit::Ok);
    }
    if secrets.is_empty() {
        printer.say("there are no secrets, and no plugin asks for one");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["PLUGIN", "NAME", "STATUS", "PLACE"]);
    for secret in secrets {
        table.row(
            [&secret.plugin, &secret.name, &secret.status, &secret.place].map(|text| escape(text)),
        );
    }
    for line in table.lines() {
        printer.line(&line)?;
    }
    if let Some(missing) = secrets
        .iter()
        .find(|secret| secret.status == "missing" && secret.place == "store")
    {
        printer.hint(&format!(
            "run `tollgate secret set {} {}`",
            escape(&missing.plugin),
            escape(&missing.name)
        ));
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn one_line_end_is_not_part_of_a_value() {
        assert_eq!(text_of(b"s3cret\n").unwrap(), "s3cret");
        assert_eq!(text_of(b"s3cret\r\n").unwrap(), "s3cret");
        assert_eq!(text_of(b" a\nb \n\n").unwrap(), " a\nb \n");
        for bytes in [&b""[..], b"\n", b"\xff", &[b'x'; MAX_VALUE + 1]] {
            let fault = text_of(bytes).unwrap_err();
            assert_eq!(fault.exit, Exit::Invalid);
            assert!(!fault.message.contains('x'.to_string().repeat(8).as_str()));
        }
    }

    #[test]
    fn a_list_has_names_and_places() {
        let secret = |name: &str, place: &str, status: &str| SecretReport {
            plugin: "github".into(),
            name: name.into(),
            place: place.into(),
            status: status.into(),
        };
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        list(
            &[
                secret("app", "env:GITHUB_APP", "set"),
                secret("token", "store", "missing"),
            ],
            &mut printer,
        )
        .unwrap();
        insta::assert_snapshot!(format!("{}---\n{}", out.text(), err.text()), @r#"
        PLUGIN  NAME   STATUS   PLACE
        github  app    set      env:GITHUB_APP
        github  token  missing  store
        ---

        hint: run `tollgate secret set github token`
        "#);
    }
}
