//! `tollgate backup` and `tollgate restore`.

use std::sync::Arc;

use serde_json::json;

use super::args::{Backup, Restore};
use super::exit::Exit;
use super::fault::Fault;
use super::finding::number;
use super::printer::{GOOD, Printer};
use crate::backup::{self, BackupError, ManifestError, RestoreError};
use crate::clock::{Clock as _, SharedClock, SystemClock};
use crate::home::Home;
use crate::journal::escape;

pub(crate) fn take(command: &Backup, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    let now = SystemClock.now();
    let manifest = backup::take(home, &command.to, command.with_keys, now).map_err(|error| {
        let fault = Fault::of(&error);
        match error {
            BackupError::NotEmpty(_) => fault.exit(Exit::Conflict),
            BackupError::Nothing(_) => fault
                .exit(Exit::Invalid)
                .hint("name the home with `--home DIR`"),
            BackupError::Bad(_) => fault.exit(Exit::Tampered),
            _ => fault,
        }
    })?;
    let bytes: u64 = manifest.files.iter().map(|entry| entry.bytes).sum();
    if printer.is_json() {
        let line = json!({
            "folder": command.to, "time": manifest.time, "records": manifest.records,
            "files": manifest.files.len(), "bytes": bytes, "keys": manifest.keys,
        });
        printer.object("backup", &line)?;
        return Ok(Exit::Ok);
    }
    let good = printer.paint(GOOD, "backed up");
    printer.line(&format!(
        "{good} to {}: {}, {bytes} bytes, {} of the journal, which verify",
        escape(&command.to.display().to_string()),
        number(manifest.files.len(), "file"),
        number(
            usize::try_from(manifest.records).unwrap_or(usize::MAX),
            "record"
        ),
    ))?;
    if !manifest.keys {
        printer.say(
            "no keys are in it: secrets and tapes can't be read without `state/keys`; keep that elsewhere, or use `--with-keys`",
        );
    }
    Ok(Exit::Ok)
}

pub(crate) async fn put(
    command: &Restore,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let clock: SharedClock = Arc::new(SystemClock);
    let restored = backup::restore(home, &command.from, command.replace, &clock).await;
    let restored = restored.map_err(|error| {
        let fault = Fault::of(&error);
        match error {
            RestoreError::Changed { .. } => fault.exit(Exit::Tampered),
            RestoreError::There(_) => fault.exit(Exit::Conflict),
            RestoreError::Running(_) | RestoreError::InUse(_) => fault
                .exit(Exit::Conflict)
                .hint("end the daemon first: `tollgate stop`"),
            RestoreError::Manifest(
                ManifestError::Missing(_)
                | ManifestError::Newer { .. }
                | ManifestError::Wrong { .. },
            ) => fault.exit(Exit::Invalid),
            _ => fault,
        }
    })?;
    if printer.is_json() {
        let line = json!({
            "time": restored.manifest.time, "records": restored.manifest.records,
            "journal": restored.journal, "aside": restored.aside, "missing_keys": restored.missing,
        });
        printer.object("restored", &line)?;
        return Ok(Exit::Ok);
    }
    let shown = |path: &std::path::Path| escape(&path.display().to_string());
    let good = printer.paint(GOOD, "restored");
    printer.line(&format!(
        "{good} the state of {}",
        escape(&restored.manifest.time)
    ))?;
    printer.line(&format!(
        "  its journal  {} ({})",
        shown(&restored.journal),
        number(
            usize::try_from(restored.manifest.records).unwrap_or(usize::MAX),
            "record"
        )
    ))?;
    if let Some(aside) = &restored.aside {
        printer.line(&format!("  moved aside  {}", shown(aside)))?;
    }
    for key in &restored.missing {
        printer.warn(&format!(
            "there is no `state/{key}`: what is encrypted under it can't be read until you put it there"
        ));
    }
    printer.say(
        "nothing runs yet: agents, people and revocations are as they were then; look at `tollgate agent list`, \
         `tollgate person list` and `tollgate plugins`, give people new credentials (`tollgate person rotate`), \
         and then run `tollgate revoke --lift`",
    );
    Ok(Exit::Ok)
}
