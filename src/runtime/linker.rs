//! What components may import: the plugin contract and an inert floor, and nothing else.

use wasmtime::Engine;
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, random as wasi_random};

use super::bindings;
use super::state::CallState;

/// The interfaces of the plugin contract, without their version.
pub(crate) const CONTRACT: &[&str] = &[
    "tollgate:plugin/types",
    "tollgate:plugin/http",
    "tollgate:plugin/secrets",
    "tollgate:plugin/settings",
    "tollgate:plugin/log",
    "tollgate:plugin/progress",
    "tollgate:plugin/client",
    "tollgate:plugin/clock",
    "tollgate:plugin/random",
];

/// The inert floor that language runtimes import, without its version.
pub(crate) const FLOOR: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// The one linker.
///
/// # Errors
///
/// Two interfaces of one name: a mistake in this file.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;

    bindings::types::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::http::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::secrets::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::settings::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::log::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::progress::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::client::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::clock::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    bindings::random::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;

    cli::environment::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, CallState::cli)?;
    clocks::monotonic_clock::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    wasi_random::random::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    wasi_random::insecure::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    wasi_random::insecure_seed::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
    {
        use wasmtime_wasi_io::bindings::wasi::io;
        io::error::add_to_linker::<_, Io>(l, |state| state.ctx().table)?;
        io::poll::add_to_linker::<_, HasSelf<_>>(l, |state| state)?;
        io::streams::add_to_linker::<_, Io>(l, |state| state.ctx().table)?;
    }
    Ok(linker)
}
