//! WebAssembly: the one engine, what guests may import, and a fresh instance for each call.
//!
//! This module and `capability` are the only ones that know Wasmtime. It trusts nothing that a
//! component says or does; it promises that code runs only with a permit, in an instance that
//! serves one call, under fuel, time and memory limits whose end is a typed reason.

mod artifact;
pub(crate) mod bindings;
mod component;
mod described;
mod engine;
mod enter;
mod floor;
mod linker;
mod patience;
mod replay;
mod run;
mod state;
mod stdio;
mod trap;

pub use artifact::{Artifacts, MAX_COMPONENT, compile_child};
pub use engine::Settings;

pub(crate) use component::Code;
pub(crate) use described::Said;
pub(crate) use enter::{Answer, Answered, Entering};
pub(crate) use patience::Patience;
pub(crate) use replay::Replayed;
pub(crate) use run::Ended;
pub(crate) use state::CallState;
pub(crate) use trap::{Ending, classify};

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::digest::Digest;
use crate::reason::Refusal;

/// The engine, what is linked, and where compiled code is kept.
pub struct Runtime {
    engine: Engine,
    linker: Linker<CallState>,
    artifacts: Artifacts,
    ticker: engine::Ticker,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("artifacts", &self.artifacts)
            .finish_non_exhaustive()
    }
}

/// The runtime could not be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("can't set up the WebAssembly runtime: {0:#}")]
pub struct StartError(wasmtime::Error);

impl Runtime {
    /// Sets up the engine.
    ///
    /// # Errors
    ///
    /// The machine has no room for what `settings` asks, or no thread.
    pub fn start(settings: Settings, artifacts: Artifacts) -> Result<Self, StartError> {
        let engine = engine::for_running(settings).map_err(StartError)?;
        let linker = linker::linker(&engine).map_err(StartError)?;
        let ticker = engine::Ticker::start(&engine)
            .map_err(|error| StartError(wasmtime::Error::new(error)))?;
        Ok(Self {
            engine,
            linker,
            artifacts,
            ticker,
        })
    }

    /// Whether compiled code of the component with this digest is on disk.
    pub(crate) fn is_compiled(&self, digest: Digest) -> bool {
        self.artifacts.has(&self.engine, digest)
    }

    /// The component `bytes`, whose digest is `digest`, ready to run.
    ///
    /// # Errors
    ///
    /// A `component.*` refusal that says what is wrong with it.
    pub(crate) async fn code(&self, digest: Digest, bytes: &[u8]) -> Result<Code, Refusal> {
        let component = self.artifacts.code(&self.engine, digest, bytes).await?;
        Code::link(&self.engine, &self.linker, &component, digest)
    }
}
