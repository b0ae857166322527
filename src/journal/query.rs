//! What is looked for, and how a line is held against it without being read.
//!
//! A line has one form only (see `line.rs`), so what a member is can be told from its bytes. Each criterion
//! is a few strings of bytes to search for, with what has to stand before and behind them (`needle.rs`); a
//! line that has none of them is never parsed. What is found is still read strictly before it is shown.

use super::line::{self, Head};
use super::needle::{
    ABOUT_AGENT, ABOUT_PLUGIN, Needle, OF_AGENT, OF_TASK, OF_USER, member, needle, origin_needles,
    start_of, whole,
};
use super::record::CallId;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::reason::Reason;

/// What is looked for. An absent field takes everything; all that are there must hold.
///
/// Who asked for what stands in a call's first record only. So `agent`, `user`, `task` and `tool` are
/// those of the call: they hold for each of its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// This agent, as the caller, in its chain, or as what a record is about.
    pub agent: Option<AgentId>,
    /// This person: on whose behalf, or who answered or asked for it.
    pub user: Option<String>,
    /// This task.
    pub task: Option<TaskId>,
    /// This tool, `<plugin>.<tool>`, or all tools of a plugin, `<plugin>`.
    pub tool: Option<String>,
    /// Host calls to this origin, `https://api.github.com`; or to this host, over whichever scheme and port.
    pub origin: Option<String>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// Refused or failed for this reason.
    pub reason: Option<Reason>,
    /// The call ended so: `ok`, `error`, `failed`.
    pub status: Option<String>,
    /// Decided by this policy.
    pub policy: Option<String>,
    /// Records of this kind.
    pub kind: Option<String>,
    /// With this text, somewhere in a record.
    pub text: Option<String>,
    /// Written at this time or later: RFC 3339 in UTC with milliseconds, as records have it.
    pub since: Option<String>,
    /// Written before this time.
    pub until: Option<String>,
}

/// A decision, as it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Allowed: the intent of a call or of a host call.
    Allow,
    /// Kept for a person.
    Hold,
    /// Refused.
    Refuse,
}

impl Decision {
    const fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Allow => &["intent", "host-call"],
            Self::Hold => &["hold", "approval-asked"],
            Self::Refuse => &["refusal"],
        }
    }
}

/// Which criteria a line satisfies, one bit each.
pub(super) type Mask = u16;

/// The bit for "all that has to stand in one and the same record does".
const TOGETHER: Mask = 1 << 15;

/// One thing that has to hold.
#[derive(Debug)]
pub(super) struct Criterion {
    bit: Mask,
    /// Any of these will do.
    needles: Vec<Needle>,
    /// In records of these kinds; empty: of all.
    kinds: &'static [&'static str],
}

/// A query, made ready for lines.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) criteria: Vec<Criterion>,
    /// All bits that a call, or a record that is of none, must have.
    wanted: Mask,
    /// Bits that one and the same record must have.
    together: Mask,
    take: Take,
    /// Whether records that the journal keeps for itself are passed over.
    is_quiet: bool,
    since: Option<String>,
    until: Option<String>,
}

/// How the criteria of a call are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Each may hold in another of its records.
    Calls,
    /// Those that are not the caller's hold in one and the same.
    Records,
}

impl Query {
    /// Whether nothing is asked for, so that every record will do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn compiled(&self, take: Take) -> Compiled {
        let mut all = Building::default();
        // Of the caller: these hold for all of a call.
        if let Some(agent) = &self.agent {
            let mut needles = vec![whole(agent.as_str(), OF_AGENT, &["chain"])];
            // Whoever administers agents of this host names them so.
            if agent.is_local() {
                needles.push(whole(agent.name(), ABOUT_AGENT, &[]));
            }
            all.add(needles, &[]);
        }
        if let Some(user) = &self.user {
            all.add(vec![whole(user, OF_USER, &["by"])], &[]);
        }
        if let Some(task) = &self.task {
            all.add(vec![whole(&task.to_string(), OF_TASK, &["tasks"])], &[]);
        }
        if let Some(tool) = &self.tool {
            let mut needles = vec![member("tool", tool)];
            if !tool.contains('.') {
                needles.push(start_of("tool", &format!("{tool}."), &[]));
                // A lease names its plugin; a call's own `plugin` is a digest.
                needles.push(member("plugin", tool));
                needles.push(whole(tool, ABOUT_PLUGIN, &[]));
            }
            all.add(needles, &[]);
        }
        let caller = all.bits();
        if let Some(origin) = &self.origin {
            all.add(origin_needles(origin), &[]);
        }
        if let Some(decision) = self.decision {
            let needles = decision.kinds().iter().map(|kind| member("kind", kind));
            all.add(needles.collect(), &[]);
        }
        if let Some(reason) = self.reason {
            // What keeps an answer of a person from counting stands in its record as `refused`.
            let needles = ["reason", "refused"].map(|key| member(key, reason.code()));
            all.add(needles.into(), &[]);
        }
        if let Some(status) = &self.status {
            all.add(vec![member("status", status)], &["outcome"]);
        }
        if let Some(policy) = &self.policy {
            all.add(vec![member("id", policy)], &[]);
        }
        if let Some(kind) = &self.kind {
            all.add(vec![member("kind", kind)], &[]);
        }
        if let Some(text) = &self.text {
            let quoted = line::quoted(text);
            let inner = quoted.get(1..quoted.len().saturating_sub(1));
            all.add(vec![needle(inner.unwrap_or_default(), &[], &[])], &[]);
        }
        let own = all.bits() & !caller;
        let is_joint = take == Take::Records && own != 0;
        Compiled {
            wanted: if is_joint {
                caller | TOGETHER
            } else {
                all.bits()
            },
            together: if is_joint { own } else { 0 },
            criteria: all.0,
            take,
            is_quiet: take == Take::Calls && self.kind.is_none(),
            since: self.since.clone(),
            until: self.until.clone(),
        }
    }
}

impl Compiled {
    /// Every record in which something happened to `call` that is not its own.
    pub(super) fn naming(call: CallId) -> Self {
        let mut all = Building::default();
        let id = line::quoted(&call.to_string());
        all.add(vec![needle(&id, &[], &[])], NAMING);
        Self {
            wanted: all.bits(),
            criteria: all.0,
            together: 0,
            take: Take::Calls,
            is_quiet: false,
            since: None,
            until: None,
        }
    }

    /// Whether a call whose records satisfy `mask` between them, or such a record, is wanted.
    pub(super) const fn is_met(&self, mask: Mask) -> bool {
        mask & self.wanted == self.wanted
    }

    /// Whether several records may be needed to tell.
    pub(super) const fn is_spread(&self) -> bool {
        self.wanted.count_ones() > 1
    }

    /// What the criteria that `line` satisfies by itself amount to; nothing where it is out of time.
    pub(super) fn judged(&self, head: &Head<'_>, found: Mask) -> Option<Mask> {
        if !self.in_time(head.time) || self.is_quiet && OWN.contains(&head.kind) {
            return None;
        }
        let mut mask = found;
        for criterion in &self.criteria {
            let of_kind = criterion.kinds.is_empty() || criterion.kinds.contains(&head.kind);
            if !of_kind {
                mask &= !criterion.bit;
            }
        }
        if self.together != 0 {
            let all = mask & self.together == self.together;
            mask &= !self.together;
            if all {
                mask |= TOGETHER;
            }
        }
        Some(mask)
    }

    /// Whether a record of a call that satisfies `mask` is one for which the call is found: where records are
    /// looked for, not every record of the caller's is.
    pub(super) const fn is_shown_for(&self, mask: Mask) -> bool {
        self.together == 0 || mask & TOGETHER != 0
    }

    /// The criteria that a line satisfies, where each is looked for in that line alone.
    pub(super) fn of_line(&self, head: &Head<'_>, line: &[u8]) -> Mask {
        let mut found = 0;
        for criterion in &self.criteria {
            if criterion.finds(line) {
                found |= criterion.bit;
            }
        }
        self.judged(head, found).unwrap_or(0)
    }

    /// Whether a record of a call that is wanted is to be shown: all are, unless it is records that are looked
    /// for.
    pub(super) fn shows(&self, head: &Head<'_>, line: &[u8]) -> bool {
        self.take == Take::Calls
            || self.in_time(head.time)
                && (self.together == 0 || self.is_shown_for(self.of_line(head, line)))
    }

    fn in_time(&self, time: &str) -> bool {
        // Of one width, so they sort as text.
        self.since.as_deref().is_none_or(|since| time >= since)
            && self.until.as_deref().is_none_or(|until| time < until)
    }

    /// The bits that hold for all of a call once they hold in one of its records.
    pub(super) const fn of_callers(&self) -> Mask {
        self.wanted & !TOGETHER
    }

    /// From when on records are wanted.
    pub(super) fn since(&self) -> Option<&str> {
        self.since.as_deref()
    }
}

impl Criterion {
    pub(super) const fn bit(&self) -> Mask {
        self.bit
    }

    fn finds(&self, line: &[u8]) -> bool {
        let mut found = false;
        self.each(line, |_| {
            found = true;
            None
        });
        found
    }

    /// Calls `at` with the place of each match in `text`; it says from where to go on, or that it is enough.
    pub(super) fn each(&self, text: &[u8], mut at: impl FnMut(usize) -> Option<usize>) {
        for needle in &self.needles {
            let mut from = 0;
            while let Some(found) = text.get(from..).and_then(|rest| needle.find(rest)) {
                let place = from + found;
                from = place + 1;
                if needle.fits(text, place) {
                    match at(place) {
                        Some(next) => from = from.max(next),
                        None => break,
                    }
                }
            }
        }
    }
}

/// Kinds of records that the journal keeps for itself: they are shown to whoever asks for them by kind.
const OWN: &[&str] = &["segment-opened", "segment-closed", "heartbeat"];

/// Kinds of records that name calls of others, and say something of them.
const NAMING: &[&str] = &["recovered", "revocation", "approval-used"];

/// Criteria as they come, each with the next bit.
#[derive(Default)]
struct Building(Vec<Criterion>);

impl Building {
    fn add(&mut self, needles: Vec<Needle>, kinds: &'static [&'static str]) {
        self.0.push(Criterion {
            bit: 1 << self.0.len(),
            needles,
            kinds,
        });
    }

    const fn bits(&self) -> Mask {
        (1 << self.0.len()) - 1
    }
}
