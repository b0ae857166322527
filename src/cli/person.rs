//! `tollgate person`: who may answer approvals, and who may administer.

use serde::{Deserialize, Serialize};

use super::args::Person;
use super::client::{self, Absent};
use super::credential::Source;
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use super::table::Table;
use crate::control::PersonReport;
use crate::daemon::{Command, SecretText};
use crate::home::Home;
use crate::journal::escape;

/// The daemon's answer to `person add` and `rotate`. It has no `Debug`: there is a credential in it.
#[derive(Deserialize, Serialize)]
struct Issued {
    name: String,
    admin: bool,
    token: String,
    expires: String,
}

/// Its answer to `person remove`.
#[derive(Deserialize, Serialize)]
struct Removed {
    name: String,
    /// What was taken back with the person.
    approvals: Vec<String>,
}

pub(crate) fn run(command: Person, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match command {
        Person::Add {
            name,
            admin,
            ttl,
            source,
        } => {
            let credential = of_administrator(&source, home, printer)?;
            let command = Command::PersonAdd {
                name: name.to_string(),
                admin,
                ttl: ttl.map(|ttl| ttl.as_secs()),
                credential,
            };
            let issued = client::ask_for(home, Absent::Starts, command, printer)?;
            shown(&issued, printer)
        }
        Person::List => list(&people(home, printer)?, printer),
        Person::Rotate { name, ttl, source } => {
            let credential = of_administrator(&source, home, printer)?;
            let command = Command::PersonRotate {
                name: name.to_string(),
                ttl: ttl.map(|ttl| ttl.as_secs()),
                credential,
            };
            let issued = client::ask_for(home, Absent::Starts, command, printer)?;
            shown(&issued, printer)
        }
        Person::Remove { name, source } => {
            let credential = of_administrator(&source, home, printer)?;
            let command = Command::PersonRemove {
                name: name.to_string(),
                credential,
            };
            let gone = client::ask_for(home, Absent::Starts, command, printer)?;
            removed(&gone, printer)
        }
    }
}

fn people(home: &Home, printer: &mut Printer) -> Result<Vec<PersonReport>, Fault> {
    client::ask_for(home, Absent::Starts, Command::PersonList {}, printer)
}

/// An administrator's credential; none while there is no administrator.
fn of_administrator(
    source: &Source,
    home: &Home,
    printer: &mut Printer,
) -> Result<Option<SecretText>, Fault> {
    let administered = people(home, printer)?
        .iter()
        .any(|person| person.admin && person.status == "active");
    if administered {
        source.needed().map(Some)
    } else {
        Ok(None)
    }
}

fn shown(issued: &Issued, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("person", issued)?;
        return Ok(Exit::Ok);
    }
    // The credential alone is data, so that it can be piped to where it belongs.
    printer.line(&escape(&issued.token))?;
    let role = if issued.admin {
        ", who may administer this host"
    } else {
        ""
    };
    printer.say(&format!(
        "the credential of `{}`{role}, good until {}; it is shown this once",
        escape(&issued.name),
        escape(&issued.expires)
    ));
    printer.hint("keep it where no agent can read it: not in this user's files or environment, if agents run as this user");
    printer.hint(&format!(
        "policies say what `User::\"{}\"` may approve: `policies/entities.json` puts people into groups",
        escape(&issued.name)
    ));
    Ok(Exit::Ok)
}

fn removed(gone: &Removed, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("removed", gone)?;
    }
    printer.say(&format!(
        "removed `{}`: the credential is worth nothing from now on",
        escape(&gone.name)
    ));
    for approval in &gone.approvals {
        printer.say(&format!(
            "revoked `{}`, which rested on it",
            escape(approval)
        ));
    }
    Ok(Exit::Ok)
}

fn list(people: &[PersonReport], printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for person in people {
            printer.object("person", person)?;
        }
        return Ok(Exit::Ok);
    }
    if people.is_empty() {
        printer.say("there are no people: nobody can approve a held call");
        printer.hint("run `tollgate person add NAME`; the first may also administer this host");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["NAME", "ADMIN", "STATUS", "ISSUED", "EXPIRES"]);
    for person in people {
        let expires = match &person.removed {
            Some(removed) => format!("removed {removed}"),
            None => person.expires.clone(),
        };
        let admin = String::from(if person.admin { "yes" } else { "no" });
        table.row(
            [
                &person.name,
                &admin,
                &person.status,
                &person.issued,
                &expires,
            ]
            .map(|text| escape(text)),
        );
    }
    table.print(printer)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn a_credential_is_the_only_data() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let issued = Issued {
            name: "ada".into(),
            admin: true,
            token: "tgp_TOKEN".into(),
            expires: "2026-02-01T00:00:00.000Z".into(),
        };
        shown(&issued, &mut printer).unwrap();
        insta::assert_snapshot!(format!("{}---\n{}", out.text(), err.text()), @r#"
        tgp_TOKEN
        ---
        the credential of `ada`, who may administer this host, good until 2026-02-01T00:00:00.000Z; it is shown this once

        hint: keep it where no agent can read it: not in this user's files or environment, if agents run as this user

        hint: policies say what `User::"ada"` may approve: `policies/entities.json` puts people into groups
        "#);
    }

    #[test]
    fn what_goes_with_a_person_is_named() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let gone = Removed {
            name: "bob".into(),
            approvals: vec!["approval_aaaaaaaaaaaaaaaa".into()],
        };
        removed(&gone, &mut printer).unwrap();
        assert_eq!(out.text(), "");
        insta::assert_snapshot!(err.text(), @r"
        removed `bob`: the credential is worth nothing from now on
        revoked `approval_aaaaaaaaaaaaaaaa`, which rested on it
        ");
    }

    #[test]
    fn people_are_listed_with_what_became_of_them() {
        let person = |name: &str, admin: bool, removed: Option<&str>| PersonReport {
            name: name.into(),
            admin,
            status: if removed.is_some() {
                "removed"
            } else {
                "active"
            }
            .into(),
            created: "2026-01-01T00:00:00.000Z".into(),
            issued: "2026-01-01T00:00:00.000Z".into(),
            expires: "2026-04-01T00:00:00.000Z".into(),
            removed: removed.map(str::to_owned),
        };
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        let people = [
            person("ada", true, None),
            person("bob", false, Some("2026-02-01T00:00:00.000Z")),
        ];
        list(&people, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        NAME  ADMIN  STATUS   ISSUED                    EXPIRES
        ada   yes    active   2026-01-01T00:00:00.000Z  2026-04-01T00:00:00.000Z
        bob   no     removed  2026-01-01T00:00:00.000Z  removed 2026-02-01T00:00:00.000Z
        "#);
    }
}
