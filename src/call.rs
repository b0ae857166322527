//! The life of a call, from arrival to recorded outcome.
//!
//! `call` reads top to bottom as that story; each step is one function of the module that owns it.
//! The order matters, and each step says what would break if it came elsewhere.

mod answer;
mod arrival;
mod asked;
mod attempts;
mod client;
mod entry;
mod given;
mod hold;
mod lasts;
mod pace;
mod questions;
mod rate;
mod reply;
mod round;
mod step;

pub use arrival::{Arrival, Progress, ProgressSink};
pub use client::{ClientSide, LogLevel, LogLine, LogSink, Notice, What};
pub use questions::{Ask, Question, Questions};
pub use reply::{Annotations, Completion, Content, Media, Reply, ResourceBody};
pub use round::Round;

pub(crate) use answer::of_replay;
pub(crate) use entry::name_refusals;
pub(crate) use pace::{Pace, Places};
pub(crate) use round::TooMuch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::entry::Entry;
use self::hold::{Asking, Permitted};
use crate::capability::{CallContext, Facts};
use crate::grant::Grants;
use crate::host::Host;
use crate::identity::SingleUse;
use crate::json::Arguments;
use crate::limits::CallLimits;
use crate::name::ToolName;
use crate::plugin::{Kind, Plugin};
use crate::policy::RoundFacts;
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::running::Underway;
use crate::runtime::Entering;
use crate::tape::{Head, Limits, Recorder};
use crate::task::{OnTask, out_of_fuel};
use crate::telemetry::Stage;

/// Carries out one call, whatever comes of it: there is always a reply, and always a record of it.
pub(crate) async fn call(host: &Host, mut arrival: Arrival, cancel: CancellationToken) -> Reply {
    let mut entry = Entry::open(host, &arrival);
    // From here on a stop finds it. Whatever the call rests on is noted first and looked at then, so that
    // what is revoked, or ended, in between is seen by one of the two.
    let under_way = entry.enters(&cancel);
    match admit(host, &mut arrival, &mut entry, &under_way).await {
        Err(refusal) => entry.refused(refusal).await,
        Ok(admitted) => run(host, arrival, admitted, entry, under_way).await,
    }
}

/// Refuses a call before it is looked at: with a record, like any other.
pub(crate) async fn refuse(host: &Host, arrival: &Arrival, refusal: Refusal) -> Reply {
    Entry::open(host, arrival).refused(refusal).await
}

/// A call that policy allowed, and all that it needs.
struct Admitted {
    permitted: Permitted,
    plugin: Arc<Plugin>,
    tool: ToolName,
    limits: CallLimits,
    arguments: Arguments,
    round: Option<RoundFacts>,
    grants: Grants,
    task: Option<OnTask>,
    single_use: Option<SingleUse>,
}

/// Everything up to the permit. Nothing here has an effect outside of the host.
async fn admit(
    host: &Host,
    arrival: &mut Arrival,
    entry: &mut Entry<'_>,
    under_way: &Underway,
) -> Result<Admitted, Refusal> {
    if host.is_draining() {
        return Err(Refusal::new(
            Reason::HostDraining,
            "the host is ending and takes no more calls",
        ));
    }
    host.look_at_the_clock();
    // Before anything that it asks for is looked at: who has no right learns nothing.
    host.in_force(&arrival.caller.agent, &arrival.caller.chain)?;
    step::rests(host, arrival, under_way)?;

    // A name matches exactly or not at all: two spellings of one tool would be two in a policy.
    let (plugin, tool) = find(host, arrival)?;
    entry.tool(&plugin, &tool);
    host.plugin_in_force(&plugin.name)?;

    // One reading, one canonical text: policy judges, the plugin gets, and the journal digests the same.
    let config = host.config();
    let limits = lasts::limits(&config, &plugin, &tool, arrival)?;
    let arguments = match arrival.arguments.as_ref() {
        [] => Arguments::empty(),
        text => Arguments::parse(text, &limits.arguments)?,
    };
    entry.arguments(&arguments);
    conforms(&plugin, &tool, &arguments)?;
    // Answers are data that the plugin acts on, like arguments. From here on they are looked at with them:
    // by the step token, by policy, and by the person who is asked.
    round::was_asked(arrival.round.as_ref())?;
    let round = arrival.round.as_ref().map(Round::facts);

    // Before policy, so that one who only repeats what was refused does not keep policy busy.
    let attempt = host
        .pace()
        .attempt(&arrival.caller.agent, &tool, arguments.digest())?;
    entry.attempt(attempt);
    let single_use = step::admit(host, arrival, &tool, &arguments, round.as_ref()).await?;

    // The task narrows whatever policy allows.
    let line = host.tasks().of(&arrival.caller, config.tasks.required);
    let task = match line.inspect_err(|_| entry.on_no_task())? {
        None => None,
        Some(line) => {
            arrival.caller.task = line.id();
            arrival.caller.user = arrival
                .caller
                .user
                .take()
                .or(line.user().map(str::to_owned));
            entry.on_task(&arrival.caller, &line);
            if let Some(job) = &arrival.job {
                line.ids().for_each(|id| job.rests_on(Scope::Task(id)));
            }
            Some(line.enter(&tool, &arguments, limits.fuel)?)
        }
    };

    // The operator's tier, then policy alone, or a person whom it lets: an approval is used up here, on
    // the disk, before anything rests on it.
    let asking = Asking {
        host,
        arrival,
        call: entry.call(),
        plugin: &plugin,
        tool: &tool,
        arguments: &arguments,
        round: round.as_ref(),
        task: task.as_ref(),
        attempt,
        trace: entry.trace(),
    };
    let deciding = entry.trace().begin(Stage::Decision);
    let decided = asking.permit(under_way).await;
    deciding.decided(decided.as_ref().map(|permitted| permitted.permit.ground()));
    let permitted = decided?;

    let set = host.policy();
    // At most what the tool says it uses, and what policy could allow this agent at all.
    let uses = plugin
        .tool(&tool)
        .map(|(tool, _)| tool.uses.as_slice())
        .unwrap_or_default();
    let grants = plugin.ceiling.filter(|name| {
        let user = arrival.caller.user.as_deref();
        uses.iter().any(|used| used == name)
            && arrival
                .caller
                .agents()
                .all(|agent| set.may_use(agent, user, &tool, name))
    });
    Ok(Admitted {
        permitted,
        plugin,
        tool,
        limits,
        arguments,
        round,
        grants,
        task,
        single_use,
    })
}

/// What is asked for. Of a resource, its arguments are what its URI says.
fn find(host: &Host, arrival: &mut Arrival) -> Result<(Arc<Plugin>, ToolName), Refusal> {
    let catalogue = host.catalogue();
    let found = match arrival.kind {
        Kind::Resource => catalogue
            .resource(&arrival.tool)
            .map(|(plugin, tool, arguments)| {
                let arguments = serde_json::Value::Object(arguments);
                arrival.arguments = crate::json::canonical(&arguments).into();
                (plugin, tool)
            }),
        kind => catalogue.named(kind, &arrival.tool),
    };
    found.ok_or_else(|| {
        let what = arrival.kind.as_str();
        let message = if catalogue.is_loading() {
            format!("there is no {what} of that name yet: plugins are still being loaded")
        } else {
            format!("there is no {what} of that name")
        };
        Refusal::new(Reason::NameUnknown, message)
    })
}

/// From the permit to the recorded outcome.
async fn run(
    host: &Host,
    arrival: Arrival,
    admitted: Admitted,
    mut entry: Entry<'_>,
    under_way: Arc<Underway>,
) -> Reply {
    let Admitted {
        permitted,
        plugin,
        tool,
        mut limits,
        arguments,
        round: round_facts,
        grants,
        task,
        single_use,
    } = admitted;
    let Permitted {
        permit,
        tier,
        places,
    } = permitted;
    let cancel = under_way.cancel().clone();
    let is_job = arrival.job.is_some();
    let fuel = task.as_ref().map(|task| task.fuel(limits.fuel));
    if let Some((fuel, _)) = fuel {
        limits.fuel = fuel;
    }

    // A place before the intent: a call that waits in line has not begun.
    let places = match places {
        Some(places) => Ok(places),
        None => {
            let places = host.places();
            places.take(&arrival.caller.agent, &plugin, &cancel).await
        }
    };
    let places = match places {
        Ok(places) => places,
        Err(refusal) => return entry.refused(refusal).await,
    };

    // What the task has left is taken for good before anything runs on it.
    if let Some(task) = &task
        && let Err(refusal) = task.begin().await
    {
        return entry.refused(refusal).await;
    }
    // What is used up here is used up, whatever comes after.
    if let Err(refusal) = step::take(host, single_use).await {
        return entry.refused(refusal).await;
    }

    // Whoever is given the handle finds the job after a restart, whatever became of its call.
    if let Some(job) = &arrival.job
        && let Err(refusal) = job.begins(entry.call()).await
    {
        return entry.refused(refusal).await;
    }

    // INVARIANT: the intent is written before anything runs. It need not be on the disk yet: each host
    // call that leaves the host waits for the disk itself, and a pure call has no effect to be lost.
    if let Err(refusal) = entry.intent(&permit, &grants, &arrival).await {
        return entry.refused(refusal).await;
    }

    // A tape has what the host gave to a tool's first round, and a replay nothing else.
    let first = arrival.kind == Kind::Tool && arrival.round.is_none();
    let taped = host.config().is_taped(&tool);
    if taped && !first {
        entry.has_no_tape("only first rounds of tools have tapes");
    }
    let tape = (taped && first).then(|| {
        entry.is_taped();
        let head = Head {
            call: entry.call(),
            tool: tool.to_string(),
            plugin: plugin.digest,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            engine: host.runtime().fit(),
            limits: Limits::of(&limits),
            arguments: arguments.canonical().to_owned(),
        };
        Box::new(Recorder::new(&head, host.config().tapes.call))
    });
    let facts = Facts {
        call: entry.call(),
        caller: arrival.caller,
        tool: tool.clone(),
        plugin: plugin.digest,
        needed: host.config().approvals_needed(&tool),
        tier,
        arguments,
        round: round_facts,
        task: task.clone(),
        under_way,
        trace: entry.trace().clone(),
    };
    let context = Box::new(CallContext::new(
        host.services(),
        facts,
        grants,
        limits,
        arrival.progress,
        arrival.client,
        tape,
    ));
    // Whatever ends the call, a dropped future included, takes back what was lent to it.
    let lent = host.leases().of_call(entry.call());
    let running = entry.trace().begin(Stage::Instance);
    let (answers, state) = arrival
        .round
        .as_ref()
        .map(Round::to_wit)
        .unwrap_or_default();
    let entering = Entering {
        kind: arrival.kind,
        answers,
        state,
    };
    let mut ended = host
        .runtime()
        .run(permit, &plugin.code, entering, context, &limits, &cancel)
        .await;
    running.used(ended.fuel, ended.answer.as_ref().err());
    drop(lent);
    if is_job && let Err(refusal) = &mut ended.answer {
        lasts::names_its_limit(refusal);
    }
    if let Some(task) = &task {
        if let (Some((reserved, true)), Err(refusal)) = (fuel, &mut ended.answer)
            && refusal.reason == Reason::TrapFuel
        {
            *refusal = out_of_fuel(reserved);
        }
        // Before anything of it goes out, errors included: the plugin's words stand in them as well.
        let labels = host.config().labels_of(&tool);
        if let Err(refusal) = task.finish(ended.fuel, &labels).await {
            ended.answer = Err(refusal);
        }
    }

    let remains = ended.remains.take();
    let answer = answer::settle(&plugin, &tool, &limits, ended).await;
    let reply = entry.outcome(answer).await;
    if let Some(remains) = remains {
        remains.give_back(places);
    }
    reply
}

/// Whether the arguments are what the tool's schema says.
fn conforms(plugin: &Plugin, tool: &ToolName, arguments: &Arguments) -> Result<(), Refusal> {
    let Some((described, schemas)) = plugin.tool(tool) else {
        return Err(Refusal::new(
            Reason::NameUnknown,
            "there is nothing of that name",
        ));
    };
    let declared = described
        .input_schema
        .get("properties")
        .and_then(|p| p.as_object());
    let plain = described.input_schema.get("additionalProperties")
        == Some(&serde_json::Value::Bool(false))
        || described.input_schema.get("$ref").is_none()
            && described.input_schema.get("allOf").is_none();
    if plain {
        let unknown = arguments
            .members()
            .into_iter()
            .flat_map(|members| members.keys())
            .find(|key| !declared.is_some_and(|declared| declared.contains_key(*key)));
        if let Some(key) = unknown {
            let shown: String = key
                .chars()
                .take(80)
                .flat_map(char::escape_default)
                .collect();
            return Err(Refusal::new(
                Reason::ArgsUnknownProperty,
                format!("the tool takes no argument named `{shown}`"),
            ));
        }
    }
    match schemas.input.fault(arguments.value()) {
        None => Ok(()),
        Some(fault) => Err(Refusal::new(
            Reason::ArgsSchema,
            format!("the arguments do not conform to the tool's schema: {fault}"),
        )),
    }
}
