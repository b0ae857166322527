//! People: whose agreement a decision rests on, what a hold asks for, and who may answer it.

use std::collections::BTreeSet;

use cedar_policy::RestrictedExpression;

use crate::approval::{Approved, Subject as ApprovedSubject};
use crate::digest::Digest;
use crate::identity::PersonId;
use crate::reason::{Reason, Refusal};

use super::chain;
use super::context::{self, Mentioned, Pairs};
use super::decide::Answer;
use super::entities::{self, Directory};
use super::load::PolicySet;
use super::question::{ApproveQuestion, CallFacts, CallQuestion, HostQuestion};
use super::slice::{Asked, Prepared};
use super::vocabulary::{APPROVE, called};
use super::{Ground, PolicyRef};

/// Persons that rules name and that are tried out one set after the other; beyond, all of them.
const MAX_TRIED: usize = 10;

/// Whose agreement an evaluation rests on: `context.approved` and `context.approvers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) approved: bool,
    pub(super) approvers: BTreeSet<String>,
}

impl Agreement {
    /// Of the people who gave `approval`.
    pub(super) fn of(approval: Option<&Approved>) -> Self {
        approval.map_or_else(Self::default, |approval| {
            Self::by(approval.approvers().iter().map(PersonId::as_str))
        })
    }

    /// Of these.
    pub(super) fn by<'a>(people: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            approved: true,
            approvers: people.into_iter().map(str::to_owned).collect(),
        }
    }

    /// What people could still agree to: everyone whom the rules name, and anybody else.
    pub(super) fn beyond(&self, prepared: &Prepared) -> Vec<Self> {
        let more = |people: BTreeSet<String>| Self {
            approved: true,
            approvers: people
                .into_iter()
                .chain(self.approvers.iter().cloned())
                .collect(),
        };
        let people = prepared.people();
        let mut others = people.clone();
        if let Some(user) = &prepared.subject.user {
            others.remove(user.id().unescaped());
        }
        let mut all = vec![more(people), more(others), more(BTreeSet::new())];
        all.dedup();
        all.retain(|one| one != self);
        all
    }

    /// Adds what it says to a context, as far as the rules can see it.
    pub(super) fn put(&self, mut pairs: Pairs, seen: &Mentioned) -> Pairs {
        pairs.push(("approved", RestrictedExpression::new_bool(self.approved)));
        if seen.key("approvers") {
            let people = self
                .approvers
                .iter()
                .map(|person| RestrictedExpression::new_entity_uid(entities::user(person)));
            pairs.push(("approvers", RestrictedExpression::new_set(people)));
        }
        pairs
    }
}

/// What a hold asks for, as an approval is bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The policies that decided: those that keep it now, and those that would allow it.
    pub policies: Vec<PolicyRef>,
    /// Digest of what these say, and of nothing else: a reload of something unrelated changes nothing.
    pub deciding: Digest,
    /// Where rules name persons: the smallest sets of which one must agree whole. Empty where anybody
    /// will do.
    pub enough: Vec<BTreeSet<PersonId>>,
}

impl PolicySet {
    /// May this person answer?
    ///
    /// # Errors
    ///
    /// `policy.*`: no rule on `approve` lets that person. A permit that leaves its action open is
    /// about agents, and lets nobody approve.
    pub fn decide_approve(&self, question: &ApproveQuestion<'_>) -> Result<Ground, Refusal> {
        let answered = self
            .prepare_approve(question, None)
            .and_then(|(prepared, pairs)| {
                self.answer_once(&prepared, pairs, &approved_so_far(question))
            });
        self.settle_approve(answered)
    }

    fn settle_approve(&self, answered: Result<Answer, String>) -> Result<Ground, Refusal> {
        match answered {
            Ok(Answer::Allow(ground)) => Ok(ground),
            Ok(Answer::Hold(ground)) => Err(Refusal::new(
                Reason::PolicyDefault,
                "no policy lets this person answer",
            )
            .with_ground(ground)),
            Ok(Answer::Refuse(reason, ground)) => {
                let message = match reason {
                    Reason::PolicyForbidden => "policy keeps this person from answering",
                    Reason::PolicyDefault => "no policy lets this person answer",
                    _ => "policy could not decide on this person's answer, so it is refused",
                };
                let detail = format!(
                    "`permit (principal == User::\"…\", action in Action::\"{APPROVE}\", resource);` lets a person answer{}",
                    ground
                        .errors
                        .iter()
                        .map(|e| format!("; {e}"))
                        .collect::<String>()
                );
                Err(Refusal::new(reason, message)
                    .with_detail(detail)
                    .with_ground(ground))
            }
            Err(error) => Err(Refusal::new(
                Reason::PolicyError,
                "policy could not decide on this person's answer, so it is refused",
            )
            .with_detail(error)),
        }
    }

    pub(super) fn prepare_approve(
        &self,
        question: &ApproveQuestion<'_>,
        directory: Option<&Directory>,
    ) -> Result<(std::sync::Arc<Prepared>, Pairs), String> {
        let call = &question.call;
        let (plugin, tool) = self.tool(call.tool)?;
        let asked = Asked {
            principal: question.person.as_str(),
            asker: Some(call.agent.as_str()),
            user: call.user,
            group: APPROVE,
            tool: call.tool,
            resource: called(tool.kind),
        };
        let prepared = self.prepare(plugin, &asked, directory)?;
        let pairs = context::approve(&tool.arguments, &prepared.seen, question)?;
        Ok((prepared, pairs))
    }

    /// What the hold of a call asks for. `ground` is what held it, or what allowed a call that the
    /// operator's tier holds; `also` are words of the operator's that decided as well.
    ///
    /// # Errors
    ///
    /// `policy.error`.
    pub fn hold_of_call(
        &self,
        question: &CallQuestion<'_>,
        ground: &Ground,
        also: &[&str],
    ) -> Result<Hold, Refusal> {
        chain::each(question.call.chain, question.call.agent)
            .map(|agent| self.prepare_call(&question.of(agent), None))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|asked| self.hold(&asked, ground, also))
            .map_err(undecided)
    }

    /// What the hold of a host call asks for.
    ///
    /// # Errors
    ///
    /// `policy.error`.
    pub fn hold_of_host_call<T: HostQuestion>(
        &self,
        call: &CallFacts<'_>,
        question: &T,
        ground: &Ground,
        also: &[&str],
    ) -> Result<Hold, Refusal> {
        chain::each(call.chain, call.agent)
            .map(|agent| self.prepare_host_call(&call.of(agent), question, None))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|asked| self.hold(&asked, ground, also))
            .map_err(undecided)
    }

    /// Of a question as it is asked for each agent of a chain: enough is what is enough for all of them.
    fn hold(
        &self,
        asked: &[(std::sync::Arc<Prepared>, Pairs)],
        ground: &Ground,
        also: &[&str],
    ) -> Result<Hold, String> {
        let allows = |people: &[&str]| {
            let agreement = Agreement::by(people.iter().copied());
            asked.iter().all(|(prepared, pairs)| {
                matches!(
                    self.answer_once(prepared, pairs.clone(), &agreement),
                    Ok(Answer::Allow(_))
                )
            })
        };
        let mut policies: Vec<PolicyRef> = ground.policies.clone();
        for (prepared, pairs) in asked {
            let now = self.answer_once(prepared, pairs.clone(), &Agreement::default())?;
            let (Answer::Allow(kept) | Answer::Hold(kept) | Answer::Refuse(_, kept)) = now;
            policies.extend(kept.policies);
        }
        policies.sort_by(|a, b| (&a.file, a.line, &a.id).cmp(&(&b.file, b.line, &b.id)));
        policies.dedup();
        // What they say, wherever they stand and in whatever order.
        let said = |policy| asked.iter().find_map(|(prepared, _)| prepared.says(policy));
        let mut parts: Vec<Vec<u8>> = policies
            .iter()
            .map(|policy| said(policy).unwrap_or_else(|| format!("{policy:?}").into_bytes()))
            .collect();
        parts.sort_unstable();
        parts.extend(also.iter().map(|text| text.as_bytes().to_vec()));
        Ok(Hold {
            deciding: Digest::of_parts(parts.iter().map(Vec::as_slice)),
            enough: enough(
                &asked
                    .iter()
                    .flat_map(|(prepared, _)| prepared.people())
                    .collect(),
                allows,
            ),
            policies,
        })
    }
}

fn undecided(error: String) -> Refusal {
    Refusal::new(
        Reason::PolicyError,
        "policy could not decide who must agree, so it is refused",
    )
    .with_detail(error)
}

pub(super) fn approved_so_far(question: &ApproveQuestion<'_>) -> Agreement {
    Agreement {
        approved: !question.approvers.is_empty(),
        approvers: question.approvers.iter().map(ToString::to_string).collect(),
    }
}

/// The smallest sets of the persons in `named` with which `allows` says yes; none, where it does with
/// nobody by name.
fn enough(named: &BTreeSet<String>, allows: impl Fn(&[&str]) -> bool) -> Vec<BTreeSet<PersonId>> {
    if allows(&[]) {
        return Vec::new();
    }
    // A name that no person can have can't agree.
    let named: Vec<PersonId> = named.iter().filter_map(|name| name.parse().ok()).collect();
    if named.len() > MAX_TRIED {
        return vec![named.into_iter().collect()];
    }
    let mut found: Vec<BTreeSet<PersonId>> = Vec::new();
    let mut choices: Vec<u32> = (1..1_u32 << named.len()).collect();
    choices.sort_by_key(|choice| choice.count_ones());
    for choice in choices {
        let set: BTreeSet<PersonId> = named
            .iter()
            .enumerate()
            .filter(|(i, _)| choice >> i & 1 == 1)
            .map(|(_, person)| person.clone())
            .collect();
        let names: Vec<&str> = set.iter().map(PersonId::as_str).collect();
        if !found.iter().any(|smaller| smaller.is_subset(&set)) && allows(&names) {
            found.push(set);
        }
    }
    if found.is_empty() {
        // They agree only as a whole with someone else; the decision itself will tell.
        found.push(named.into_iter().collect());
    }
    found
}

/// Why `approval` is none for this call.
pub(super) fn for_another_call(
    approval: &Approved,
    question: &CallQuestion<'_>,
) -> Option<&'static str> {
    if *approval.subject() != (ApprovedSubject::Call {}) {
        return Some("the approval is for a host call");
    }
    let same =
        is_of(approval, &question.call) && approval.binding().plugin == question.plugin_digest;
    (!same).then_some("the approval is for another call")
}

/// Why `approval` is none for a host call of this call. That it is for this very host call is for the
/// one to show who holds the value that is sent.
pub(super) fn for_another_host_call(
    approval: &Approved,
    call: &CallFacts<'_>,
) -> Option<&'static str> {
    if !approval.subject().is_host_call() {
        return Some("the approval is for a whole call");
    }
    (!is_of(approval, call)).then_some("the approval is for another call")
}

/// Whether the same agent asks, by the same chain and for the same person, for the same thing.
fn is_of(approval: &Approved, call: &CallFacts<'_>) -> bool {
    let binding = approval.binding();
    binding.agent == *call.agent
        && binding.chain == call.chain
        && binding.user.as_deref() == call.user
        && binding.tool == *call.tool
        && binding.arguments == call.arguments.digest()
        && binding.round == call.round.map(|round| round.bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_smallest_sets_that_are_enough() {
        let named = people(&["ada", "bob", "eve"]);
        let sets = |allows: &dyn Fn(&[&str]) -> bool| -> Vec<String> {
            enough(&named, allows)
                .iter()
                .map(|set| {
                    set.iter()
                        .map(PersonId::as_str)
                        .collect::<Vec<_>>()
                        .join("+")
                })
                .collect()
        };
        assert_eq!(sets(&|_| true), Vec::<String>::new());
        assert_eq!(sets(&|p| p.contains(&"ada")), ["ada"]);
        assert_eq!(
            sets(&|p| p.contains(&"ada") && p.len() > 1 || p.contains(&"eve")),
            ["eve", "ada+bob"]
        );
        assert_eq!(sets(&|_| false), ["ada+bob+eve"]);
    }
}
