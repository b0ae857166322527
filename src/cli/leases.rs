//! `tollgate leases`: what is lent, and what waits to be taken back. Never a value.

use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use super::table::Table;
use crate::daemon::Command;
use crate::home::Home;
use crate::journal::escape;
use crate::lease::LeaseReport;

pub(crate) fn run(pending: bool, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    let command = Command::Leases { pending };
    let leases: Vec<LeaseReport> = client::ask_for(home, Absent::Starts, command, printer)?;
    list(&leases, printer)
}

fn list(leases: &[LeaseReport], printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for lease in leases {
            printer.object("lease", lease)?;
        }
        return Ok(Exit::Ok);
    }
    if leases.is_empty() {
        printer.say("there are no leases");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        "LEASE", "STAGE", "SECRET", "SOURCE", "HELD BY", "USES", "EXPIRES",
    ]);
    for lease in leases {
        let held = match lease.task {
            Some(task) => task.to_string(),
            None => format!("call {}", lease.call),
        };
        let expires = match (&lease.expires, lease.revocable) {
            (Some(expires), true) => expires.clone(),
            (Some(expires), false) => format!("{expires}, not before"),
            (None, _) => String::from("never: it can't be taken back"),
        };
        let stage = match &lease.fault {
            Some(fault) => format!("{}, {} failed\n{fault}", lease.stage, lease.attempts),
            None => lease.stage.clone(),
        };
        let cells = [
            lease.lease.to_string(),
            stage,
            format!("{}/{}", lease.plugin, lease.secret),
            lease.source.clone(),
            held,
            lease.uses.to_string(),
            expires,
        ];
        table.row(cells.map(|cell| {
            let lines = cell.split('\n').map(escape);
            lines.collect::<Vec<_>>().join("\n")
        }));
    }
    for line in table.lines() {
        printer.line(&line)?;
    }
    if leases.iter().any(|lease| lease.attempts > 0) {
        printer.hint("what failed is tried again by itself; once its source is there it is taken back within a minute");
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn what_waits_says_why() {
        let lease = |stage: &str, fault: Option<&str>| LeaseReport {
            lease: "lease_aaaaaaaaaaaaaaaa".parse().unwrap(),
            stage: stage.into(),
            plugin: "queue".into(),
            secret: "password".into(),
            source: "vault".into(),
            agent: "spiffe://tollgate.local/agent/claude".into(),
            call: "0198a000-0000-7000-8000-000000000000".into(),
            task: None,
            revocable: true,
            expires: Some("2026-11-22T18:00:00.000Z".into()),
            uses: 2,
            attempts: u32::from(fault.is_some()),
            fault: fault.map(str::to_owned),
        };
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        let leases = [lease("live", None), lease("pending", Some("status 503"))];
        list(&leases, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r"
        LEASE                   STAGE              SECRET          SOURCE  HELD BY                                    USES  EXPIRES
        lease_aaaaaaaaaaaaaaaa  live               queue/password  vault   call 0198a000-0000-7000-8000-000000000000  2     2026-11-22T18:00:00.000Z
        lease_aaaaaaaaaaaaaaaa  pending, 1 failed  queue/password  vault   call 0198a000-0000-7000-8000-000000000000  2     2026-11-22T18:00:00.000Z
                                status 503
        ");
    }
}
