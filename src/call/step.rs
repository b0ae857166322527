//! What a step token or a hand-off says of a call, and its single use.

use super::Arrival;
use crate::host::Host;
use crate::identity::{Identities, SingleUse, StepQuestion};
use crate::json::Arguments;
use crate::name::ToolName;
use crate::policy::RoundFacts;
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::running::Underway;
use crate::state::StateError;

/// Whether the token allows this call. Policy is asked all the same: a token gives nothing. Its single
/// use is reserved now, before anyone is asked to agree and before an approval is used up for it.
pub(super) async fn admit(
    host: &Host,
    arrival: &Arrival,
    tool: &ToolName,
    arguments: &Arguments,
    round: Option<&RoundFacts>,
) -> Result<Option<SingleUse>, Refusal> {
    let credential = arrival.credential.as_ref();
    let Some(step) = credential.and_then(|who| who.step.clone()) else {
        return Ok(None);
    };
    step.admits(&StepQuestion {
        tool,
        arguments,
        round,
        task: arrival.caller.task,
        time: host.identities().now(),
    })?;
    if !step.is_used_once() {
        return Ok(None);
    }
    let reserved = kept(host, move |identities| identities.reserve_use(&step)).await?;
    reserved.map(Some).ok_or_else(used)
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
pub(super) async fn take(host: &Host, reserved: Option<SingleUse>) -> Result<(), Refusal> {
    let Some(reserved) = reserved else {
        return Ok(());
    };
    match kept(host, move |identities| identities.take_use(&reserved)).await? {
        true => Ok(()),
        false => Err(used()),
    }
}

/// Works where the disk may be waited for.
async fn kept<T: Send + 'static>(
    host: &Host,
    work: impl FnOnce(&Identities) -> Result<T, StateError> + Send + 'static,
) -> Result<T, Refusal> {
    let unkept = |error: String| {
        Refusal::new(
            Reason::HostInternal,
            "the use of the step token can't be kept, so nothing is done",
        )
        .with_detail(error)
    };
    let identities = host.identities().clone();
    tokio::task::spawn_blocking(move || work(&identities))
        .await
        .map_err(|error| unkept(error.to_string()))?
        .map_err(|error| unkept(error.to_string()))
}

fn used() -> Refusal {
    Refusal::new(
        Reason::TokenUsed,
        "the step token was used already, or another call is about to use it",
    )
}
