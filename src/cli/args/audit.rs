//! `tollgate audit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::clock::{Clock as _, SystemClock, lifetime, rfc3339};
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal;
use crate::journal::record::Event;
use crate::reason::Reason;

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
    /// Find calls by who asked, what they did and how they ended.
    Search(Search),
    /// Write the journal for other programs.
    Export(Export),
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
    #[command(flatten)]
    pub(crate) wanted: Wanted,
}

/// `tollgate audit search`.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// How many, the newest; `0` for all.
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 50)]
    pub(crate) count: usize,
    /// Print all records of what is found, rather than one line for each call.
    #[arg(long)]
    pub(crate) records: bool,
    #[command(flatten)]
    pub(crate) wanted: Wanted,
}

/// `tollgate audit export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// In which form: `ocsf` is OCSF 1.6.0, an event a line, without arguments and queries of URLs.
    #[arg(long = "as", value_name = "FORM", value_enum)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) wanted: Wanted,
}

/// A form of export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// API Activity and Application Lifecycle of the Open Cybersecurity Schema Framework.
    Ocsf,
}

/// What is looked for. All that is named must hold.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What to look for")]
pub(crate) struct Wanted {
    /// Calls of this agent, and by way of it.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<AgentId>,
    /// On behalf of this person, or answered or ordered by them.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// On this task.
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<TaskId>,
    /// Of this tool, or of all tools of this plugin.
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Option<String>,
    /// With host calls to this origin (`https://api.github.com`) or host.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Where this was decided, of the call or of a host call.
    #[arg(long, value_name = "DECISION", value_enum)]
    pub(crate) decision: Option<Decision>,
    /// Refused or failed for this reason, such as `policy.forbidden`.
    #[arg(long, value_name = "CODE", value_parser = reason)]
    pub(crate) reason: Option<Reason>,
    /// That ended so.
    #[arg(long, value_name = "STATUS", value_parser = ["ok", "error", "failed"])]
    pub(crate) status: Option<String>,
    /// Decided by this policy.
    #[arg(long, value_name = "ID")]
    pub(crate) policy: Option<String>,
    /// With records of this kind: `intent`, `refusal`, `outcome`, ...
    #[arg(long, value_name = "KIND", value_parser = Event::KINDS)]
    pub(crate) kind: Option<String>,
    /// With this text in a record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// From this time on: `2026-11-22T13:00:00Z`, `2026-11-22`, or so long ago: `2h`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<String>,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decision {
    /// Allowed.
    Allow,
    /// Kept for a person.
    Hold,
    /// Refused.
    Refuse,
}

impl From<Wanted> for journal::Query {
    fn from(wanted: Wanted) -> Self {
        Self {
            agent: wanted.agent,
            user: wanted.user,
            task: wanted.task,
            tool: wanted.tool,
            origin: wanted.origin,
            decision: wanted.decision.map(|decision| match decision {
                Decision::Allow => journal::Decision::Allow,
                Decision::Hold => journal::Decision::Hold,
                Decision::Refuse => journal::Decision::Refuse,
            }),
            reason: wanted.reason,
            status: wanted.status,
            policy: wanted.policy,
            kind: wanted.kind,
            text: wanted.text.filter(|text| !text.is_empty()),
            since: wanted.since,
            until: wanted.until,
        }
    }
}

/// A reason that there is. A misspelt one would find nothing, which looks like nothing happened.
fn reason(text: &str) -> Result<Reason, String> {
    if let Some(reason) = Reason::ALL.iter().find(|reason| reason.code() == text) {
        return Ok(*reason);
    }
    let group = text.split_once('.').map_or(text, |(group, _)| group);
    let near: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| reason.code())
        .filter(|code| !group.is_empty() && code.starts_with(group))
        .collect();
    Err(if near.is_empty() {
        String::from("there is no such reason; ARCHITECTURE.md has the list")
    } else {
        format!("there is no such reason; there are {}", near.join(", "))
    })
}

/// A time, as records have it.
fn time(text: &str) -> Result<String, String> {
    time_at(text, SystemClock.now())
}

fn time_at(text: &str, now: Duration) -> Result<String, String> {
    if let Ok(ago) = lifetime(text) {
        return Ok(rfc3339(now.saturating_sub(ago)));
    }
    let day = format!("{text}T00:00:00Z");
    let time: Option<jiff::Timestamp> = text.parse().or_else(|_| day.parse()).ok();
    time.and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .map(|millis| rfc3339(Duration::from_millis(millis)))
        .ok_or_else(|| {
            String::from("write a time as `2026-11-22T13:00:00Z`, a day in UTC as `2026-11-22`, or how long ago as `2h`")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_day_or_so_long_ago() {
        let now = Duration::from_secs(1_795_305_600);
        let read = |text: &str| time_at(text, now);
        assert_eq!(read("2h").unwrap(), "2026-11-21T22:00:00.000Z");
        assert_eq!(read("2026-11-22").unwrap(), "2026-11-22T00:00:00.000Z");
        assert_eq!(
            read("2026-11-22T13:00:00.5+01:00").unwrap(),
            "2026-11-22T12:00:00.500Z"
        );
        for text in ["", "h", "yesterday", "2026-13-01", "1969-01-01", "-2h"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_reason_that_there_is_not_is_told_with_those_near_it() {
        assert_eq!(reason("policy.error"), Ok(Reason::PolicyError));
        let said = reason("journal.gone").unwrap_err();
        assert_eq!(
            said,
            "there is no such reason; there are journal.unavailable"
        );
        assert!(reason("x").is_err() && reason("").is_err());
    }
}
