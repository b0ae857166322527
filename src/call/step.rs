//! What a step token or a hand-off says of a call, and its single use.

use super::Arrival;
use crate::host::Host;
use crate::identity::{Step, StepQuestion};
use crate::json::Arguments;
use crate::name::ToolName;
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::running::Underway;

fn step_of(arrival: &Arrival) -> Option<&Step> {
    arrival.credential.as_ref()?.step.as_deref()
}

/// Whether the token allows this call. Policy is asked all the same: a token gives nothing.
pub(super) fn admit(
    host: &Host,
    arrival: &Arrival,
    tool: &ToolName,
    arguments: &Arguments,
) -> Result<(), Refusal> {
    match step_of(arrival) {
        None => Ok(()),
        Some(step) => step.admits(&StepQuestion {
            tool,
            arguments,
            task: arrival.caller.task,
            time: host.identities().now(),
        }),
    }
}

/// From now on the end of any of the caller's credentials stops this call; what was revoked before that
/// is looked at after it.
pub(super) fn rests(host: &Host, arrival: &Arrival, under_way: &Underway) -> Result<(), Refusal> {
    let Some(who) = &arrival.credential else {
        return Ok(());
    };
    for id in &who.tokens {
        under_way.rests_on(Scope::Token(id.clone()));
    }
    Ok(host.identities().still(who)?)
}

/// Takes the token's single use, on the disk: of two calls with one token, one goes on.
pub(super) async fn take(host: &Host, arrival: &Arrival) -> Result<(), Refusal> {
    let Some((id, expires)) =
        step_of(arrival).and_then(|step| Some((step.single_use()?, step.expires())))
    else {
        return Ok(());
    };
    let identities = host.identities().clone();
    let taken = tokio::task::spawn_blocking(move || identities.take_use(id, expires)).await;
    match taken {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Refusal::new(
            Reason::TokenUsed,
            "the step token was used already",
        )),
        Ok(Err(error)) => Err(unkept(&error)),
        Err(error) => Err(unkept(&error)),
    }
}

fn unkept(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(
        Reason::HostInternal,
        "the use of the step token can't be kept, so nothing is done",
    )
    .with_detail(error.to_string())
}
