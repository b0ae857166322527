//! A hold, as it is put before a person: the one form of it for a call and for a host call.

use std::collections::BTreeSet;
use std::time::Duration;

use super::settings::Settings;
use super::summary::{BodyView, InputView, Summary, effect, escape_json};
use super::{Binding, Subject};
use crate::digest::Digest;
use crate::identity::PersonId;
use crate::journal::record::{CallId, Caller, HostCallRef};
use crate::json::Arguments;
use crate::name::ToolName;
use crate::policy::{Ground, Hold, RoundFacts};

/// A hold, to be put before a person.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) call: CallId,
    pub(crate) subject: Subject,
    pub(crate) binding: Binding,
    pub(crate) summary: Summary,
    /// How many must agree.
    pub(crate) needed: u32,
    /// Of whom, where policy names persons.
    pub(crate) enough: Vec<BTreeSet<PersonId>>,
    /// The host call, as records number it.
    pub(crate) host_call: Option<HostCallRef>,
    pub(crate) ground: Ground,
}

/// The call of which something is held. All of it from the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldCall<'a> {
    pub(crate) call: CallId,
    pub(crate) caller: &'a Caller,
    pub(crate) tool: &'a ToolName,
    /// Digest of the component.
    pub(crate) plugin: Digest,
    pub(crate) arguments: &'a Arguments,
    /// The round, where it is not the first.
    pub(crate) round: Option<&'a RoundFacts>,
    /// As policies and people see it.
    pub(crate) tier: &'a str,
    /// How many must agree.
    pub(crate) needed: u32,
}

impl HeldCall<'_> {
    /// What a person is asked: whether the call may run.
    pub(crate) fn asks(&self, hold: Hold, ground: Ground) -> Ask {
        self.ask(Subject::Call {}, None, None, hold, ground)
    }

    /// What a person is asked: whether one host call of it may be made.
    pub(crate) fn asks_for(
        &self,
        subject: Subject,
        body: Option<BodyView>,
        host_call: HostCallRef,
        hold: Hold,
        ground: Ground,
    ) -> Ask {
        self.ask(subject, body, Some(host_call), hold, ground)
    }

    fn ask(
        &self,
        subject: Subject,
        body: Option<BodyView>,
        host_call: Option<HostCallRef>,
        hold: Hold,
        ground: Ground,
    ) -> Ask {
        let Hold {
            policies,
            deciding,
            enough,
        } = hold;
        let (caller, arguments) = (self.caller, self.arguments);
        let round = self.round.map(|round| round.bound);
        Ask {
            call: self.call,
            binding: Binding::new(caller, self.tool, self.plugin, arguments, round, deciding),
            summary: Summary {
                agent: caller.agent.clone(),
                user: caller.user.clone(),
                chain: caller.chain.clone(),
                effect: effect(self.tool, &subject),
                tier: self.tier.to_owned(),
                arguments: escape_json(arguments.canonical()),
                arguments_digest: arguments.digest(),
                arguments_bytes: arguments.canonical().len() as u64,
                input: self.round.map(InputView::of),
                body,
                policies,
            },
            subject,
            needed: self.needed,
            enough,
            host_call,
            ground,
        }
    }
}

impl Ask {
    /// A parked host call gives up before an ask would expire.
    pub(super) fn lives(&self, settings: &Settings) -> Duration {
        if self.subject.is_host_call() {
            settings.ttl.min(settings.park)
        } else {
            settings.ttl
        }
    }
}
