//! Asking for a value at a terminal without showing it.

use std::io;
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What shells make of a program that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Reads a line from the terminal on standard input, which shows none of it.
///
/// An interrupt meanwhile ends the process, and gives the terminal its echo back first: a shell that
/// sets nothing by itself would leave its user typing blindly.
///
/// # Errors
///
/// Nothing could be read.
pub(crate) fn hidden(prompt: &str) -> io::Result<String> {
    let before = tcgetattr(io::stdin())?;
    restore_when_interrupted(before.clone())?;
    let line = rpassword::prompt_password(prompt);
    if line
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
    {
        // The other thread ends the process now.
        std::thread::sleep(Duration::from_secs(1));
    }
    // Where the input ended, too, what comes next stands on a line of its own.
    if line.is_err() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        drop(io::Write::write_all(&mut io::stderr(), b"\n"));
    }
    line
}

fn restore_when_interrupted(before: Termios) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // From here on neither ends the process by itself.
    let (interrupt, terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::Builder::new()
        .name("prompt".to_owned())
        .spawn(move || {
            runtime.block_on(either(interrupt, terminate));
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
            drop(io::Write::write_all(&mut io::stderr(), b"\n"));
            std::process::exit(INTERRUPTED);
        })?;
    Ok(())
}

async fn either(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
