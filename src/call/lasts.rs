//! Calls that run as jobs: whether they may, and what differs then.

use super::Arrival;
use crate::config::Config;
use crate::limits::CallLimits;
use crate::name::ToolName;
use crate::plugin::Plugin;
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;

/// The limits of the call: those of a job's, where it is one.
///
/// # Errors
///
/// `job.*`: calls of this tool run as jobs only, and the client, or the operator, has none.
pub(super) fn limits(
    config: &Config,
    plugin: &Plugin,
    tool: &ToolName,
    arrival: &Arrival,
) -> Result<CallLimits, Refusal> {
    let mut limits = config.limits(tool);
    let lasts = plugin.tool(tool).and_then(|(tool, _)| tool.lasts);
    if let Some(job) = &arrival.job {
        job.rests_on(Scope::Plugin(tool.plugin().clone()));
        limits.time = limits.job_time;
    }
    if lasts.is_none_or(|lasts| !lasts.must) {
        return Ok(limits);
    }
    if !config.may_last(tool) {
        return Err(Refusal::new(
            Reason::JobForbidden,
            "calls of this tool run as jobs only, and the operator lets none run",
        )
        .with_detail("`jobs` is false in `[tools]`, or in the part of the plugin or the tool"));
    }
    // A round that asks before there is a job is a plain call, of a client that has jobs.
    if arrival.job.is_none() && !arrival.client.jobs {
        return Err(Refusal::new(
            Reason::JobRequired,
            "calls of this tool run as jobs only, and this client has none (`io.modelcontextprotocol/tasks`)",
        ));
    }
    Ok(limits)
}

/// The limit on time that a job ran into has a name of its own.
pub(super) fn names_its_limit(refusal: &mut Refusal) {
    if refusal.reason == Reason::TrapDeadline {
        refusal.message = refusal.message.replacen("`time`", "`job_time`", 1).into();
    }
}
