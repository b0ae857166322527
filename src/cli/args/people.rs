//! What can be typed by and about people.

use std::time::Duration;

use clap::Subcommand;

use crate::cli::credential::Source;
use crate::clock::lifetime;
use crate::id::ApprovalId;
use crate::identity::PersonId;

/// `tollgate approvals`.
#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    /// List what waits for an answer.
    List {
        /// Also what is answered, used or over.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        source: Source,
    },
    /// Show all of one: what would happen, for whom, with which arguments.
    Show {
        /// The approval.
        id: ApprovalId,
        #[command(flatten)]
        source: Source,
    },
    /// Let it happen, once.
    Approve {
        /// The approval.
        id: ApprovalId,
        /// Let identical calls of the same agent go through for this long as well, such as `2h`.
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        standing: Option<Duration>,
        #[command(flatten)]
        source: Source,
    },
    /// Say no.
    Deny {
        /// The approval.
        id: ApprovalId,
        /// Why not; the agent reads it.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        #[command(flatten)]
        source: Source,
    },
    /// Print approvals as they happen.
    Watch {
        #[command(flatten)]
        source: Source,
    },
}

/// `tollgate person`.
#[derive(Debug, Subcommand)]
pub(crate) enum Person {
    /// Add a person and print the credential, once. The first one may administer this host; from then
    /// on that takes an administrator's credential.
    Add {
        /// The name, as policies have it: `User::"<name>"`.
        name: PersonId,
        /// Let this person administer the host: people, tasks, revocation.
        #[arg(long)]
        admin: bool,
        /// For how long the credential is good, such as `30d`; at most 366 days [default: 90d].
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        ttl: Option<Duration>,
        #[command(flatten)]
        source: Source,
    },
    /// List the people.
    List,
    /// Print a new credential for a person, once; the old one is worth nothing from then on.
    Rotate {
        /// The person.
        name: PersonId,
        /// For how long the new credential is good [default: 90d].
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        ttl: Option<Duration>,
        #[command(flatten)]
        source: Source,
    },
    /// Take a person's credential back.
    Remove {
        /// The person.
        name: PersonId,
        #[command(flatten)]
        source: Source,
    },
}
