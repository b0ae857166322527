//! Whatever happens to a call, an ask or an approval leaves exactly one record, that names what it is about.

use std::collections::{BTreeMap, BTreeSet};

use tollgate::revocation::{Scope, lift, revoke};

use super::*;
use crate::harness::{Random, Running, intents};

/// Sends wait for a person; two tools are free; all others are refused.
const POLICY: &str = r#"
@id("free")
permit (principal in Group::"everyone", action == Action::"call:probe.loop", resource);
"#;

const STEPS: usize = 160;
const KINDS: u64 = 10;
const ARGUMENTS: u64 = 4;

/// A record, as far as the model has a say in it: its kind, what it is about, and how it came out.
fn said(event: &Event) -> String {
    match event {
        Event::Intent(intent) => format!("intent {} {}", intent.call, intent.attempt),
        Event::Outcome(outcome) => format!(
            "outcome {} {}",
            outcome.call,
            outcome
                .reason
                .map_or(outcome.status.as_str(), |reason| reason.code())
        ),
        Event::Refusal(refused) => format!(
            "refusal {} {} {}",
            refused.call,
            refused.reason,
            refused.attempt.unwrap_or(0)
        ),
        Event::Hold(held) => format!("hold {} {} {}", held.call, held.reason, held.attempt),
        Event::HostCall(made) => format!("host-call {}", made.call),
        Event::HostCallOutcome(outcome) => {
            format!("host-call-outcome {} {}", outcome.call, outcome.status)
        }
        Event::ApprovalAsked(asked) => {
            format!("asked {} {} {}", asked.call, asked.approval, asked.merged)
        }
        Event::ApprovalAnswered(answered) => format!(
            "answered {} {} {} {}",
            answered.call, answered.approval, answered.by, answered.status
        ),
        Event::ApprovalUsed(used) => {
            format!("used {} {} {}", used.call, used.approval, used.asked)
        }
        Event::ApprovalEnded(ended) => {
            format!("ended {} {} {}", ended.call, ended.approval, ended.status)
        }
        Event::Revocation(revocation) => format!(
            "revocation {} {:?}",
            revocation.scope,
            revocation
                .calls
                .iter()
                .map(|call| call.call)
                .collect::<Vec<_>>()
        ),
        Event::Changed(changed) => format!("changed {}", changed.change),
        other => other.kind().to_owned(),
    }
}

/// An ask that is open.
struct Open {
    id: ApprovalId,
    call: CallId,
    asks: u64,
    approved: bool,
}

/// What was done so far, as far as it decides what comes next.
#[derive(Default)]
struct Model {
    /// By the arguments.
    open: BTreeMap<u64, Open>,
    /// Arguments that a person said no to.
    denied: BTreeSet<u64>,
    attempts: BTreeMap<(&'static str, u64), u32>,
    done: BTreeSet<&'static str>,
    clock: Duration,
}

impl Model {
    fn attempt(&mut self, tool: &'static str, arguments: u64) -> u32 {
        let count = self.attempts.entry((tool, arguments)).or_default();
        *count += 1;
        *count
    }

    /// The arguments of an open ask, from `at` on.
    fn find(&self, at: u64, approved: bool) -> Option<u64> {
        (0..ARGUMENTS)
            .map(|step| (at + step) % ARGUMENTS)
            .find(|arguments| {
                self.open
                    .get(arguments)
                    .is_some_and(|open| open.approved == approved)
            })
    }

    /// One step: what is done, and the records that must come of it.
    async fn step(&mut self, bench: &Bench, what: u64, at: u64) -> Vec<String> {
        match what {
            // It asks, asks again, or uses what people agreed to.
            0..=2 => self.send(bench, at).await,
            3 | 4 => {
                let Some(arguments) = self.find(at, false) else {
                    return Vec::new();
                };
                let yes = what == 3;
                let answer = match yes {
                    true => once(),
                    false => Answer::Deny { why: None },
                };
                let open = self.open.get_mut(&arguments).unwrap();
                bench.answer(open.id, "ada", answer).await.unwrap();
                let (call, id) = (open.call, open.id);
                open.approved = yes;
                if !yes {
                    self.open.remove(&arguments);
                    self.denied.insert(arguments);
                }
                let status = if yes { "approved" } else { "denied" };
                self.done.insert(status);
                vec![format!("answered {call} {id} ada {status}")]
            }
            5 => {
                let tool = "probe_now";
                let reply = bench.call(tool, json!({})).await;
                let attempt = self.attempt(tool, 0);
                self.done
                    .insert(if attempt == 1 { "refused" } else { "retried" });
                let reason = Reason::PolicyDefault;
                vec![format!("refusal {} {reason} {attempt}", reply.call)]
            }
            6 => {
                let (call, attempt) = self
                    .runs(bench, async |running: &Running| running.cancel.cancel())
                    .await;
                self.done.insert("cancelled");
                vec![
                    format!("intent {call} {attempt}"),
                    format!("outcome {call} {}", Reason::CallCancelled),
                ]
            }
            7 => {
                self.clock += Duration::from_secs(3_600);
                bench.clock.set(self.clock);
                let mut records = self.all_end("expired");
                // A no holds for as long as the ask would have been open.
                self.denied.clear();
                records.extend(self.send(bench, at).await);
                records
            }
            8 => {
                let Some(arguments) = self.find(at, at.is_multiple_of(2)) else {
                    return Vec::new();
                };
                let open = self.open.remove(&arguments).unwrap();
                let by = "the operator";
                bench.host.approvals().revoke(open.id, by).await.unwrap();
                self.done.insert("taken back");
                vec![format!("ended {} {} revoked", open.call, open.id)]
            }
            _ => self.stop_all(bench).await,
        }
    }

    async fn send(&mut self, bench: &Bench, arguments: u64) -> Vec<String> {
        let tool = "probe_send";
        let reply = bench.call(tool, post(&arguments.to_string())).await;
        let (call, attempt) = (reply.call, self.attempt(tool, arguments));
        if self.denied.contains(&arguments) {
            let reason = Reason::ApprovalDenied;
            self.done.insert("refused as denied");
            return vec![format!("refusal {call} {reason} {attempt}")];
        }
        if let Some(open) = self.open.get(&arguments)
            && open.approved
        {
            assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
            let open = self.open.remove(&arguments).unwrap();
            self.done.insert("used");
            return vec![
                format!("used {call} {} {}", open.id, open.call),
                format!("intent {call} {attempt}"),
                format!("host-call {call}"),
                format!("host-call-outcome {call} ok"),
                format!("outcome {call} ok"),
            ];
        }
        let id = asked(&reply);
        let open = self.open.entry(arguments).or_insert(Open {
            id,
            call,
            asks: 0,
            approved: false,
        });
        assert_eq!(open.id, id, "one ask is open, and no other is made");
        open.asks += 1;
        let again = open.asks - 1;
        self.done
            .insert(if again == 0 { "asked" } else { "asked again" });
        let held = Reason::ApprovalRequired;
        vec![
            format!("asked {call} {id} {again}"),
            format!("hold {call} {held} {attempt}"),
        ]
    }

    /// A call that runs until this is done.
    async fn runs(&mut self, bench: &Bench, stop: impl AsyncFnOnce(&Running)) -> (CallId, u32) {
        let tool = "probe_loop";
        let begun = intents(bench.records()).len();
        let running = bench.spawn("alice", tool, json!({}));
        bench.begun(begun + 1).await;
        let intent = intents(bench.records()).pop().unwrap();
        stop(&running).await;
        running.reply().await;
        (intent.call, self.attempt(tool, 0))
    }

    fn all_end(&mut self, status: &'static str) -> Vec<String> {
        self.done.insert(status);
        std::mem::take(&mut self.open)
            .into_values()
            .map(|open| format!("ended {} {} {status}", open.call, open.id))
            .collect()
    }

    /// The switch that stops everything, and its way back.
    async fn stop_all(&mut self, bench: &Bench) -> Vec<String> {
        let by = "the operator";
        let (call, attempt) = self
            .runs(bench, async |_| {
                revoke(&bench.host, Scope::All, by).await.unwrap();
            })
            .await;
        lift(&bench.host, Scope::All, by).await.unwrap();
        self.done.insert("stopped");
        let mut records = self.all_end("revoked");
        records.extend([
            format!("intent {call} {attempt}"),
            format!("outcome {call} {}", Reason::RevokedAll),
            format!("revocation all [{call:?}]"),
            String::from("changed all.revoked"),
            String::from("changed all.lifted"),
        ]);
        records
    }
}

#[tokio::test]
pub(crate) async fn whatever_happens_leaves_exactly_one_record_that_names_what_it_is_about() {
    let _row = crate::attacks::stands_for("L12");
    let bench = Setup::probe_under(&format!("{HELD_CALL}{POLICY}"))
        .shared_rules()
        .toml(
            "[limits]\nfailures = 1_000\nfuel = 1_000_000_000_000\n[approvals]\nper_minute = 1_000",
        )
        .start()
        .await;
    bench.approver("ada");
    let mut model = Model {
        clock: NOW,
        ..Model::default()
    };
    let mut random = Random::from(12);
    let mut known = bench.records().len();
    for step in 0..STEPS {
        let (what, at) = (random.below(KINDS), random.below(ARGUMENTS));
        let mut expected = model.step(&bench, what, at).await;
        let records = bench.records();
        let mut found: Vec<_> = records
            .iter()
            .skip(known)
            .map(|record| said(&record.event))
            .filter(|record| !record.starts_with("changed person."))
            .collect();
        known = records.len();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "step {step}, {what} at {at}");
    }
    let all = [
        "approved",
        "asked",
        "asked again",
        "cancelled",
        "denied",
        "expired",
        "refused",
        "refused as denied",
        "retried",
        "revoked",
        "stopped",
        "taken back",
        "used",
    ];
    assert!(model.done.iter().eq(all.iter()), "{:?}", model.done);
    bench.verify();
}
