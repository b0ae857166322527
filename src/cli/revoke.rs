//! `tollgate revoke`: power taken back at once.

use super::args::Revoke;
use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::finding::number;
use super::printer::Printer;
use crate::daemon::Command;
use crate::home::Home;
use crate::journal::escape;
use crate::revocation::{Revoked, Scope};

pub(crate) fn run(revoke: &Revoke, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    let scope = scope(revoke)?;
    let (kind, subject) = (scope.kind().to_owned(), scope.subject());
    if revoke.lift {
        let command = Command::Lift { kind, subject };
        let answer = client::ask(home, Absent::Starts, command, printer, drop)?;
        if printer.is_json() {
            printer.object("lifted", &answer)?;
        }
        printer.say(&format!("lifted: {}", escape(&scope.to_string())));
        return Ok(Exit::Ok);
    }
    let command = Command::Revoke { kind, subject };
    let revoked: Revoked = client::ask_for(home, Absent::Starts, command, printer)?;
    told(&revoked, &scope, printer)
}

/// What was typed, as what the daemon is asked.
fn scope(revoke: &Revoke) -> Result<Scope, Fault> {
    let kind = revoke.kind.as_deref().unwrap_or("all");
    match (kind, &revoke.subject) {
        ("all", Some(_)) => Err(Fault::invalid(
            "`revoke all` is about everything, and names nothing",
        )),
        ("all", None) => Ok(Scope::All),
        (kind, None) => Err(Fault::invalid(format!(
            "which {kind}? write `tollgate revoke {kind} NAME`"
        ))),
        (kind, Some(subject)) => Scope::parse(kind, subject).map_err(Fault::invalid),
    }
}

fn told(revoked: &Revoked, scope: &Scope, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("revoked", revoked)?;
        return Ok(Exit::Ok);
    }
    for under in &revoked.calls {
        printer.line(&format!(
            "{}  {}  {}",
            under.call,
            escape(under.agent.name()),
            under.tool
        ))?;
    }
    let mut parts = vec![format!("{} stopped", number(revoked.calls.len(), "call"))];
    for (count, what, done) in [
        (revoked.tasks.len(), "task", "ended"),
        (revoked.leases.len(), "lease", "taken back"),
        (revoked.approvals.len(), "approval", "void"),
    ] {
        if count > 0 {
            parts.push(format!("{} {done}", number(count, what)));
        }
    }
    printer.say(&format!(
        "revoked: {}; {}",
        escape(&scope.to_string()),
        parts.join(", ")
    ));
    let hint = match scope {
        Scope::All => {
            Some("nothing runs until `tollgate revoke --lift`, also after a restart".to_owned())
        }
        Scope::Agent(agent) if agent.is_local() => Some(format!(
            "`tollgate agent add {}` gives it a new token",
            agent.name()
        )),
        Scope::Agent(agent) => Some(format!("`tollgate revoke --lift agent {agent}` undoes it")),
        Scope::Plugin(plugin) => Some(format!(
            "look at it, then run `tollgate plugins accept {plugin}` to have it serve again"
        )),
        _ => None,
    };
    if let Some(hint) = hint {
        printer.hint(&hint);
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    fn typed(kind: Option<&str>, subject: Option<&str>) -> Result<Scope, Fault> {
        scope(&Revoke {
            lift: kind.is_none(),
            kind: kind.map(str::to_owned),
            subject: subject.map(str::to_owned),
        })
    }

    #[test]
    fn what_is_typed_names_one_thing() {
        assert_eq!(typed(None, None).unwrap(), Scope::All);
        assert_eq!(typed(Some("all"), None).unwrap(), Scope::All);
        let agent = typed(Some("agent"), Some("claude")).unwrap();
        assert_eq!(agent, Scope::Agent("claude".parse().unwrap()));
        for (kind, subject) in [
            ("all", Some("x")),
            ("agent", None),
            ("task", Some("claude")),
        ] {
            assert_eq!(typed(Some(kind), subject).unwrap_err().exit, Exit::Invalid);
        }
    }

    #[test]
    fn the_kill_switch_says_how_it_is_lifted() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let revoked = Revoked {
            kind: "all".into(),
            subject: String::new(),
            calls: Vec::new(),
            tasks: Vec::new(),
            leases: Vec::new(),
            approvals: Vec::new(),
        };
        told(&revoked, &Scope::All, &mut printer).unwrap();
        assert_eq!(out.text(), "");
        insta::assert_snapshot!(err.text(), @r#"
        revoked: all; 0 calls stopped

        hint: nothing runs until `tollgate revoke --lift`, also after a restart
        "#);
    }
}
