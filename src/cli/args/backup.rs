//! `tollgate backup` and `tollgate restore`.

use std::path::PathBuf;

use clap::Args;

/// `tollgate backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder to make.
    #[arg(value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// The keys of secrets and tapes as well: whoever has the backup then has the secrets.
    #[arg(long)]
    pub(crate) with_keys: bool,
}

/// `tollgate restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder that `tollgate backup` made.
    #[arg(value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// Move what the home has now to `state/before-<time>`.
    #[arg(long)]
    pub(crate) replace: bool,
}
