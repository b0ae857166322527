//! `tollgate replay`.

use std::path::PathBuf;

use clap::Args;

/// `tollgate replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The call: its id, or at least six characters from its start or end.
    pub(crate) call: String,
    /// The component that ran, where it is in `plugins/` no more.
    #[arg(long, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,
    /// Print each host call of the tape.
    #[arg(long)]
    pub(crate) steps: bool,
}
