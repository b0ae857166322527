//! `tollgate serve`: the daemon, from its lock to its last answer; and its thin clients on stdio.

mod listeners;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::{Global, Serve};
use super::client;
use super::compiling::Compiling;
use super::exit::Exit;
use super::fault::Fault;
use super::finding::number;
use super::printer::Printer;
use super::{check, endpoint, log, quickstart};
use crate::config::Config;
use crate::control::Operator;
use crate::daemon::{Connection, Daemon, DaemonError, bridge_stdio, detach};
use crate::home::Home;
use crate::host::{Host, Options, StartError, Watch};
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal::OpenError;
use crate::mcp::{GateError, Listener};
use crate::telemetry;
use crate::webhook::Pauses;

/// How long a daemon that is ending may take to close its journal: its calls have ended before.
const HANDOVER: Duration = Duration::from_secs(5);

pub(crate) fn run(
    serve: &Serve,
    global: &Global,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    if serve.stdio {
        let Some(agent) = &serve.agent else {
            return Err(Fault::invalid("`--stdio` needs `--agent NAME`"));
        };
        return stdio(agent, serve.task, home);
    }
    if serve.background {
        // The client that started this may go, and its terminal with it. Where that fails, this was
        // started by a shell after all, and serves as well.
        drop(detach());
    }
    let config = Config::load(home).map_err(|error| {
        let place = check::broken_config(&error);
        let fault = Fault::of(&error).exit(Exit::Invalid);
        match place.line {
            Some(_) => fault.hint("mend that line; `tollgate check` looks at everything else too"),
            None => fault,
        }
    })?;
    home.create()?;
    log::of_daemon(
        config.log,
        global,
        printer.colour_of_talk(),
        printer.progress(),
    );
    vacant(home)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(daemon(serve, home, &config, printer));
    // Everything was given its time to end; what is left is nobody's.
    runtime.shutdown_background();
    ended
}

/// Carries MCP between standard input and output and the daemon. Prints nothing else to either.
fn stdio(agent: &AgentId, task: Option<TaskId>, home: &Home) -> Result<Exit, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let start = client::start(home)?;
        client::verify(home)?;
        let connection = Connection::mcp(&client::paths(home), Some(&start), agent, task)
            .await
            .map_err(|error| client::fault(error, home))?;
        match bridge_stdio(connection).await {
            // The client that reads this is gone: that is how such a session ends.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
            Err(error) => Err(Fault::of(&error)
                .context("the connection to the daemon failed")
                .exit(Exit::Unreachable)
                .hint(format!("see the end of `{}`", home.log().display()))),
            Ok(()) => Ok(Exit::Ok),
        }
    });
    // The thread that reads standard input can't be stopped, and must not be waited for.
    runtime.shutdown_background();
    ended
}

/// Makes sure, before anything is compiled, that no other daemon serves this home. What makes it
/// certain is the lock that `Daemon::bind` takes.
fn vacant(home: &Home) -> Result<(), Fault> {
    match crate::daemon::holder(&home.daemon_lock()) {
        Ok(Some(pid)) => Err(running(pid.trim(), home)),
        // What can't be looked at, the lock itself will tell.
        _ => Ok(()),
    }
}

fn running(pid: &str, home: &Home) -> Fault {
    let digits: String = pid.chars().take_while(char::is_ascii_digit).collect();
    let process = if digits.is_empty() {
        String::from("another process")
    } else {
        format!("process {digits}")
    };
    Fault::new(
        Exit::Conflict,
        format!("{process} serves `{}` already", home.root().display()),
    )
    .hint("`tollgate status` shows how it is, `tollgate stop` ends it, `--home DIR` names another home")
}

async fn daemon(
    serve: &Serve,
    home: &Home,
    config: &Config,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let mut signals = Signals::new()?;
    let listener = endpoint::open(serve, config).await?;
    let place = listener.as_ref().map(Listener::endpoint);
    let compiling = Compiling::watch(home, printer);
    let host = tokio::select! {
        host = opened(home) => host?,
        // Nothing serves yet, so there is nothing to finish.
        () = signals.next() => return Ok(Exit::Ok),
    };
    let daemon = Daemon::bind(&client::paths(home)).map_err(|error| match error {
        DaemonError::Running { pid, .. } => running(&pid, home),
        error @ DaemonError::Answered(_) => Fault::of(&error).exit(Exit::Conflict),
        error => Fault::of(&error),
    })?;
    // Given back last: whoever waits for the end of this daemon waits for its journal too.
    let hold = daemon.hold()?;
    let watch = Watch::start(&host);
    if let Err(error) = &watch {
        tracing::warn!(%error, "changes on disk go unnoticed: run `tollgate reload` after a change");
    }
    let admin = listeners::admin(serve, &host, config).await?;
    tokio::spawn(crate::webhook::run(Arc::clone(&host), Pauses::default()));
    listeners::prometheus(serve, &host, config).await?;
    let ended = CancellationToken::new();
    let telling = tokio::spawn(telemetry::run(
        Arc::clone(&host),
        telemetry::Pauses::default(),
        ended.clone(),
    ));
    let anchoring = tokio::spawn(crate::host::anchors::run(Arc::clone(&host)));
    let operator = Arc::new(Operator::new(Arc::clone(&host), place.clone()));
    let over = CancellationToken::new();
    let local = tokio::spawn(daemon.serve(Arc::<Host>::clone(&host), operator, over.clone()));
    let mut http = listener.map(|listener| {
        let settings = endpoint::settings(config, &listener);
        tokio::spawn(crate::mcp::serve(
            listener,
            Arc::<Host>::clone(&host),
            settings,
        ))
    });
    // What is compiled already is served by now; nobody waits for the rest but who reads this terminal.
    tokio::select! {
        _ = host.refresh() => {}
        () = signals.next() => host.drain(),
    }
    drop(compiling);
    if !host.is_draining() {
        greet(serve, &host, place.as_deref(), printer).await?;
    }

    let draining = host.draining();
    tokio::spawn(tell_unwritable(Arc::clone(&host)));
    let mut fault = None;
    tokio::select! {
        () = signals.next() => printer.say("ending: calls under way are finished; interrupt again to end at once"),
        () = draining.cancelled() => {}
        // It ends by itself only where its configuration names a host or an origin that is none.
        ended = finished(&mut http), if http.is_some() => fault = ended,
    }
    drop(watch);
    host.drain();
    let ending = async {
        let fault = finished(&mut http).await;
        if let Some(admin) = admin
            && let Err(error) = admin.await
        {
            tracing::error!(%error, "the admin listener ended badly");
        }
        over.cancel();
        if let Err(error) = local.await {
            tracing::error!(%error, "the daemon's socket ended badly");
        }
        fault
    };
    tokio::select! {
        ended = ending => fault = fault.or(ended),
        () = signals.next() => tracing::warn!("interrupted again: calls that are under way have no outcome"),
    }
    // While the journal is open and the outcomes are there: the last traces are of the last calls.
    ended.cancel();
    if let Err(error) = telling.await {
        tracing::error!(%error, "telemetry ended badly");
    }
    host.stop().await;
    match anchoring.await {
        Ok(told) => crate::host::anchors::last(&host, &told).await,
        Err(error) => tracing::error!(%error, "anchoring ended badly"),
    }
    drop(hold);
    fault.map_or(Ok(Exit::Ok), Err)
}

/// Tells when the journal can't be written any more. The host goes on answering, with refusals: that
/// says more to those who ask than a closed port.
async fn tell_unwritable(host: Arc<Host>) {
    let mut failure = host.journal().failure();
    let draining = host.draining();
    let failed = tokio::select! {
        failed = failure.wait_for(Option::is_some) => failed.ok().and_then(|f| f.clone()),
        () = draining.cancelled() => None,
    };
    if let Some(error) = failed {
        tracing::error!(%error, "every call is refused until this is mended and `tollgate serve` started again");
    }
}

/// Waits for the HTTP endpoint, where there is one; says what was wrong with it.
async fn finished(http: &mut Option<JoinHandle<Result<(), GateError>>>) -> Option<Fault> {
    let ended = http.as_mut()?.await;
    *http = None;
    let fault = match ended {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => Fault::of(&error).exit(Exit::Invalid),
        Err(error) => Fault::of(&error),
    };
    Some(
        fault
            .context("can't serve HTTP")
            .hint("mend `[server]` in `tollgate.toml`"),
    )
}

/// Opens the host. A daemon that is ending gives its journal back last, so that is waited for.
async fn opened(home: &Home) -> Result<Arc<Host>, Fault> {
    let deadline = Instant::now() + HANDOVER;
    loop {
        let error = match Host::open(Options::new(home.clone())?).await {
            Ok(host) => return Ok(host),
            Err(error) => error,
        };
        let fault = Fault::of(&error);
        match &error {
            StartError::Journal { error, .. } if matches!(**error, OpenError::Locked) => {
                vacant(home)?;
                if Instant::now() >= deadline {
                    return Err(running("", home));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            StartError::Journal { .. } => {
                return Err(fault
                    .exit(Exit::Tampered)
                    .hint("`tollgate audit verify` looks at all of it; what can't be written down is not done"));
            }
            StartError::Config(_) | StartError::Egress(_) => return Err(fault.exit(Exit::Invalid)),
            _ => return Err(fault),
        }
    }
}

async fn greet(
    serve: &Serve,
    host: &Arc<Host>,
    place: Option<&str>,
    printer: &mut Printer,
) -> Result<(), Fault> {
    let catalogue = host.catalogue();
    let serving = catalogue.serving.len();
    let held = catalogue.entries.len().saturating_sub(serving);
    if let (true, Some(place)) = (serve.quickstart, place) {
        quickstart::run(host, place, printer).await?;
    }
    let place = place.map_or_else(String::new, |place| format!(" on {place}"));
    let how = if serve.background {
        ""
    } else {
        "; press Ctrl-C to end"
    };
    printer.say(&format!(
        "serving {}{place}{how}",
        number(serving, "plugin")
    ));
    if let Some(admin) = host.admin_url() {
        printer.say(&format!("approvals are answered on {admin}/approvals"));
    }
    if held > 0 {
        printer.warn(&format!(
            "{} can't serve: run `tollgate plugins` to see why",
            number(held, "plugin")
        ));
    }
    if !serve.quickstart && host.identities().list().is_empty() {
        printer.hint("there is no agent yet: run `tollgate agent add NAME`");
    }
    Ok(())
}

/// What asks this process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Fault> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_home_that_is_served_names_the_process() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let fault = running("4711\n", &home);
        assert_eq!(fault.exit, Exit::Conflict);
        insta::assert_snapshot!(fault.message, @"process 4711 serves `/nonexistent` already");
        insta::assert_snapshot!(running("\u{1b}[2J", &home).message, @"another process serves `/nonexistent` already");
    }

    #[test]
    fn a_held_lock_is_seen_before_anything_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        home.create().unwrap();
        vacant(&home).unwrap();
        std::fs::write(home.daemon_lock(), "4711\n").unwrap();
        vacant(&home).unwrap();
        let file = std::fs::File::open(home.daemon_lock()).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(
            vacant(&home)
                .unwrap_err()
                .message
                .starts_with("process 4711")
        );
    }
}
