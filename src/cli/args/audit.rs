//! `tollgate audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::identity::AgentId;

/// `tollgate audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditCommand {
    /// Another journal than that of the home: of a backup, or of before one was put back.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Audit,
}

/// What is asked of the journal.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print the last records.
    Tail(Tail),
    /// Tell the story of one call.
    Show {
        /// Its id, or at least six characters from its start or end.
        call: String,
    },
    /// Check every record, the tree over all of them, and every checkpoint and key.
    Verify(Verify),
    /// Print the proof that a record is in the log (C2SP tlog-proof), with the record in it.
    Prove {
        /// Its number, as `tollgate audit show` has it.
        record: u64,
    },
    /// Print the receipt of a call: all that is recorded of it, with proof, for whoever has no journal.
    Receipt {
        /// Its id, or at least six characters from its start or end.
        call: String,
    },
    /// Check a receipt or a proof, without the journal.
    Check(Check),
    /// Check that the journal goes on from checkpoints that were kept elsewhere.
    Since(Since),
    /// Print the newest checkpoint, to be kept elsewhere.
    Anchor {
        /// Have the daemon send it to each `[[journal.anchor]]` instead.
        #[arg(long, conflicts_with = "key")]
        now: bool,
        /// Print the key under which this log is to be registered with witnesses instead.
        #[arg(long)]
        key: bool,
    },
}

/// `tollgate audit check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The receipt or the proof; `-` is standard input.
    pub(crate) file: PathBuf,
    /// A key of the log that is trusted, or the file it is in; without one, that of this home's journal.
    #[arg(long = "pub", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// A key of a witness whose word is asked for, or the file it is in.
    #[arg(long = "witness", value_name = "KEY")]
    pub(crate) witnesses: Vec<String>,
}

/// `tollgate audit since`.
#[derive(Debug, Args)]
pub(crate) struct Since {
    /// Where they are: checkpoints, lines of a log that have some, a proof, a receipt; `-` is standard input.
    pub(crate) file: PathBuf,
    /// As for `tollgate audit verify`, which is done first.
    #[arg(long = "pub", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// `tollgate audit verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The key of the log's first segment, or the file it is in, from a source that you trust. Without one the
    /// journal's own is taken, and a log that was made anew from its start would pass.
    #[arg(long = "pub", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// `tollgate audit tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How many.
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 20)]
    pub(crate) count: usize,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of this agent.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<AgentId>,
    /// Of this tool, or of all tools of this plugin.
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Option<String>,
    /// Of this kind: `intent`, `refusal`, `outcome`, ...
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
}
