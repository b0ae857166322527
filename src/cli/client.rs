//! Talking to the daemon: commands go to the one that runs, and start it where none does.

use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use crate::daemon::{ClientError, Command, Connection, ControlClient, ControlError, Paths, Start};
use crate::home::Home;
use crate::reason::Reason;

/// Whether a command starts the daemon where none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// What is asked of it needs a running one, and a fresh one can answer.
    Starts,
    /// The question is about the one that runs.
    Fails,
}

/// Where the daemon of `home` is found.
pub(crate) fn paths(home: &Home) -> Paths {
    Paths {
        socket: home.socket(),
        lock: home.daemon_lock(),
        start_lock: home.state().join("start.lock"),
        log: home.log(),
    }
}

/// How the daemon of `home` is started.
///
/// A folder that has nothing of a home in it is most likely the wrong one: starting there would
/// leave folders behind in it.
pub(crate) fn start(home: &Home) -> Result<Start, Fault> {
    let is_home = [home.config(), home.plugins(), home.state()]
        .iter()
        .any(|path| path.exists());
    if !is_home {
        return Err(Fault::new(
            Exit::Unreachable,
            format!(
                "`{}` is no Tollgate home: it has no `tollgate.toml`, `plugins/` or `state/`",
                home.root().display()
            ),
        )
        .hint("name the home with `--home DIR` or `TOLLGATE_HOME`; `tollgate serve` makes one"));
    }
    home.create()?;
    Ok(Start::own([
        "--home".into(),
        home.root().as_os_str().to_owned(),
    ])?)
}

/// Has the daemon carry out `command`; `report` gets its progress.
pub(crate) fn ask(
    home: &Home,
    absent: Absent,
    command: Command,
    printer: &mut Printer,
    report: impl FnMut(Value),
) -> Result<Value, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let urgent = matches!(command, Command::Revoke { .. });
        let mut client = connected(home, absent, urgent, printer).await?;
        let answer = client.run(command, report).await;
        answer.map_err(|error| fault(error, home))
    })
}

/// Has the daemon carry out a command that reports until the daemon or the reader of the output ends.
pub(crate) fn watch(
    home: &Home,
    command: Command,
    printer: &mut Printer,
    mut report: impl FnMut(&Value, &mut Printer) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut client = connected(home, Absent::Starts, false, printer).await?;
        let (broken, mut stopped) = tokio::sync::mpsc::channel(1);
        let watching = client.run(command, |progress| {
            if let Err(fault) = report(&progress, printer) {
                drop(broken.try_send(fault));
            }
        });
        tokio::select! {
            biased;
            Some(fault) = stopped.recv() => Err(fault),
            ended = watching => ended.map(drop).map_err(|error| fault(error, home)),
        }
    })
}

/// `urgent` is what a daemon that is ending still does.
async fn connected(
    home: &Home,
    absent: Absent,
    urgent: bool,
    printer: &mut Printer,
) -> Result<ControlClient, Fault> {
    let failed = |error| fault(error, home);
    verify(home)?;
    let paths = paths(home);
    let open = async |start: Option<&Start>| {
        if urgent {
            Connection::revoking(&paths, start).await
        } else {
            Connection::control(&paths, start).await
        }
    };
    match open(None).await {
        Err(ClientError::Absent(_)) if absent == Absent::Starts => {
            let start = start(home)?;
            let client = open(Some(&start)).await.map_err(failed)?;
            let (_, pid) = client.daemon();
            printer.say(&format!(
                "started the daemon, process {pid}; `tollgate stop` ends it"
            ));
            Ok(client)
        }
        reached => reached.map_err(failed),
    }
}

/// As `ask`, for a command whose answer has a form.
pub(crate) fn ask_for<T: DeserializeOwned>(
    home: &Home,
    absent: Absent,
    command: Command,
    printer: &mut Printer,
) -> Result<T, Fault> {
    let answer = ask(home, absent, command, printer, drop)?;
    serde_json::from_value(answer).map_err(|error| {
        Fault::of(&error)
            .context("the daemon's answer is not understood")
            .exit(Exit::Unreachable)
            .hint("it may be of another version: run `tollgate stop` and try again")
    })
}

/// Makes sure that nobody else could have put a socket in the place of the daemon's.
pub(crate) fn verify(home: &Home) -> Result<(), Fault> {
    match home.verify_socket_folder() {
        Err(error) if !error.is_missing() => Err(Fault::of(&error).exit(Exit::Unreachable)),
        _ => Ok(()),
    }
}

/// What is wrong between here and the daemon.
pub(crate) fn fault(error: ClientError, home: &Home) -> Fault {
    let unreachable = |hint: String| Fault::of(&error).exit(Exit::Unreachable).hint(hint);
    match &error {
        ClientError::Absent(_) => Fault::new(
            Exit::Unreachable,
            format!("no daemon serves `{}`", home.root().display()),
        )
        .hint("run `tollgate serve`, or name another home with `--home DIR`"),
        ClientError::Refused(error) => refused(error),
        ClientError::Ended { status, log, tail } => Fault::new(
            Exit::Unreachable,
            format!(
                "the daemon ended as it started ({status}): {}",
                last_word(tail)
            ),
        )
        .hint(format!(
            "run `tollgate check`, or see the end of `{}`",
            log.display()
        )),
        ClientError::Silent(_) => unreachable(String::from(
            "run `tollgate check`, or `tollgate serve` to see it start",
        )),
        ClientError::Protocol => unreachable(String::from(
            "the daemon may be of another version: end it and try again",
        )),
        _ => unreachable(format!("see the end of `{}`", home.log().display())),
    }
}

/// What a daemon that ended said last: its error, else its last line.
fn last_word(log: &str) -> &str {
    let lines = || log.lines().rev().filter(|line| !line.trim().is_empty());
    lines()
        .find_map(|line| line.strip_prefix("error: "))
        .or_else(|| lines().next())
        .unwrap_or("it said nothing")
}

/// The daemon answered, and did not do it.
fn refused(error: &ControlError) -> Fault {
    let fault = Fault::new(exit_of(&error.code), &error.message);
    match &error.hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// The exit of a command that ended with this code: one of the host's reasons, or of `control`'s own.
fn exit_of(code: &str) -> Exit {
    if let Some(reason) = Reason::ALL.iter().find(|reason| reason.code() == code) {
        return Exit::of_reason(*reason);
    }
    match code.rsplit('.').next() {
        Some("unknown" | "invalid" | "agent" | "ambiguous") => Exit::Invalid,
        Some("exists" | "elsewhere") => Exit::Conflict,
        Some("credential" | "forbidden") => Exit::Denied,
        Some("version") => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// A spinner that says what is waited for.
pub(crate) fn spinner(printer: &Printer, message: &str) -> ProgressBar {
    let bar = printer.progress().add(ProgressBar::new_spinner());
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_code_of_the_daemon_has_its_exit() {
        assert_eq!(exit_of("agent.unknown"), Exit::Invalid);
        assert_eq!(exit_of("agent.exists"), Exit::Conflict);
        assert_eq!(exit_of("journal.unavailable"), Exit::Denied);
        assert_eq!(exit_of("person.forbidden"), Exit::Denied);
        assert_eq!(exit_of("hello.version"), Exit::Unreachable);
        assert_eq!(exit_of("state.failed"), Exit::Failed);
    }

    #[test]
    fn a_daemon_that_ended_is_quoted() {
        assert_eq!(
            last_word("a\nerror: no room\n\nhint: make some\n"),
            "no room"
        );
        assert_eq!(last_word("a\nkilled\n\n"), "killed");
        assert_eq!(last_word(""), "it said nothing");
    }

    #[test]
    fn an_absent_daemon_says_how_to_start_one() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let fault = fault(ClientError::Absent(home.socket()), &home);
        assert_eq!(fault.exit, Exit::Unreachable);
        insta::assert_snapshot!(fault.message, @"no daemon serves `/nonexistent`");
    }

    #[test]
    fn no_daemon_is_started_in_a_folder_that_is_no_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(start(&home).unwrap_err().exit, Exit::Unreachable);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
