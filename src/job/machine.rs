//! The states of a job, apart from everything around it.
//!
//! ```text
//! working -> asking -> working      its client answered all
//! working -> held   -> working      a person was asked, and it is tried again
//! any     -> over                   and then nothing
//! ```

use serde_json::Value;

use super::{Asked, Status};
use crate::plugin::QuestionKind;

/// A question of the plugin's.
#[derive(Debug, Clone, PartialEq)]
struct Pending {
    /// By which the client answers it; no two of one job are the same.
    key: String,
    /// The plugin's own.
    own: String,
    kind: QuestionKind,
    request: Value,
}

/// Where a job stands, and what it was told.
#[derive(Debug)]
pub(super) struct Machine {
    status: Status,
    /// How often its client was asked something.
    asked: u32,
    pending: Vec<Pending>,
    answers: Vec<(String, Value)>,
    /// The page of an approval that its client is asked to show.
    page: Option<(String, Value)>,
}

impl Machine {
    pub(super) const fn new() -> Self {
        Self {
            status: Status::Working,
            asked: 0,
            pending: Vec::new(),
            answers: Vec::new(),
            page: None,
        }
    }

    pub(super) const fn status(&self) -> Status {
        self.status
    }

    /// What its client is asked.
    pub(super) fn asks(&self) -> Vec<Asked> {
        let pending = self.pending.iter().map(|pending| Asked {
            key: pending.key.clone(),
            kind: Some(pending.kind),
            request: pending.request.clone(),
        });
        let page = self.page.iter().map(|(key, request)| Asked {
            key: key.clone(),
            kind: None,
            request: request.clone(),
        });
        pending.chain(page).collect()
    }

    /// From now on its client is asked this.
    pub(super) fn ask(&mut self, questions: Vec<(String, QuestionKind, Value)>) {
        if self.status != Status::Working || questions.is_empty() {
            return;
        }
        self.asked = self.asked.saturating_add(1);
        self.status = Status::Asking;
        self.answers.clear();
        self.pending = questions
            .into_iter()
            .map(|(own, kind, request)| Pending {
                key: format!("{}-{own}", self.asked),
                own,
                kind,
                request,
            })
            .collect();
    }

    /// A person must agree; `page` is what its client is asked to show.
    pub(super) fn hold(&mut self, page: Option<Value>) {
        if self.status != Status::Working {
            return;
        }
        self.asked = self.asked.saturating_add(1);
        self.status = Status::Held;
        self.page = page.map(|page| (format!("{}-approval", self.asked), page));
    }

    /// Takes an answer, if that was asked and not answered; whether it did. What comes of the page is nobody's
    /// answer.
    pub(super) fn answer(&mut self, key: &str, value: Value) -> bool {
        if self.page.as_ref().is_some_and(|(page, _)| page == key) {
            self.page = None;
            return false;
        }
        let Some(at) = self.pending.iter().position(|pending| pending.key == key) else {
            return false;
        };
        let pending = self.pending.remove(at);
        self.answers.push((pending.own, value));
        true
    }

    /// The answers, by the plugin's keys, once there are all; then it works again.
    pub(super) fn answered(&mut self) -> Option<Vec<(String, Value)>> {
        (self.status == Status::Asking && self.pending.is_empty()).then(|| {
            self.status = Status::Working;
            std::mem::take(&mut self.answers)
        })
    }

    /// It waits for nothing any more.
    pub(super) fn go_on(&mut self) {
        if !self.status.is_over() {
            self.status = Status::Working;
            self.clear();
        }
    }

    /// It is over, if it was not.
    pub(super) fn end(&mut self, status: Status) {
        if !self.status.is_over() && status.is_over() {
            self.status = status;
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.pending.clear();
        self.answers.clear();
        self.page = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn question(own: &str) -> (String, QuestionKind, Value) {
        (own.to_owned(), QuestionKind::Form, json!({"method": own}))
    }

    fn keys(machine: &Machine) -> Vec<String> {
        machine.asks().into_iter().map(|asked| asked.key).collect()
    }

    #[test]
    fn it_goes_on_once_all_is_answered() {
        let mut machine = Machine::new();
        assert_eq!(machine.answered(), None);
        machine.ask(vec![question("a"), question("b")]);
        assert_eq!(keys(&machine), ["1-a", "1-b"]);
        assert!(!machine.answer("a", json!(0)), "that was not asked");
        assert!(machine.answer("1-b", json!(2)));
        assert!(!machine.answer("1-b", json!(3)), "that was answered");
        assert_eq!(machine.answered(), None);
        assert_eq!(keys(&machine), ["1-a"]);
        assert!(machine.answer("1-a", json!(1)));
        let answers = machine.answered().unwrap();
        assert_eq!(answers, [("b".into(), json!(2)), ("a".into(), json!(1))]);
        assert_eq!(machine.status(), Status::Working);
        machine.ask(vec![question("a")]);
        assert_eq!(keys(&machine), ["2-a"]);
    }

    #[test]
    fn a_page_that_was_shown_is_no_answer() {
        let mut machine = Machine::new();
        machine.hold(Some(json!({})));
        assert_eq!(keys(&machine), ["1-approval"]);
        assert!(!machine.answer("1-approval", json!({"action": "accept"})));
        assert_eq!((machine.status(), keys(&machine).len()), (Status::Held, 0));
        assert_eq!(machine.answered(), None);
        machine.go_on();
        assert_eq!(machine.status(), Status::Working);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask(u8),
        Hold(bool),
        Answer(u8),
        Answered,
        GoOn,
        End(Status),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u8).prop_map(Step::Ask),
            any::<bool>().prop_map(Step::Hold),
            any::<u8>().prop_map(Step::Answer),
            Just(Step::Answered),
            Just(Step::GoOn),
            (0..20_usize).prop_map(|n| Step::End(Status::ALL[n % 6])),
        ]
    }

    proptest! {
        #[test]
        fn no_key_comes_twice_and_nothing_comes_after_the_end(steps in prop::collection::vec(step(), 0..60)) {
            let mut machine = Machine::new();
            let mut seen = HashSet::new();
            let mut answered = HashSet::new();
            for step in steps {
                let before = machine.status();
                let asked = keys(&machine);
                match step {
                    Step::Ask(n) => machine.ask((0..n).map(|n| question(&format!("q{n}"))).collect()),
                    Step::Hold(page) => machine.hold(page.then(|| json!({}))),
                    Step::Answer(n) if !asked.is_empty() => {
                        let key = asked[usize::from(n) % asked.len()].clone();
                        let _taken = machine.answer(&key, json!(n));
                        answered.insert(key);
                    }
                    Step::Answer(_) => prop_assert!(!machine.answer("no-such", json!(0))),
                    Step::Answered => drop(machine.answered()),
                    Step::GoOn => machine.go_on(),
                    Step::End(status) => machine.end(status),
                }
                if before.is_over() {
                    prop_assert_eq!(machine.status(), before);
                }
                let now = keys(&machine);
                for key in now.iter().filter(|key| !asked.contains(key)) {
                    prop_assert!(seen.insert(key.clone()), "{} came again", key);
                }
                prop_assert!(now.iter().all(|key| !answered.contains(key)));
                prop_assert!(
                    now.is_empty() || matches!(machine.status(), Status::Asking | Status::Held)
                );
            }
        }
    }
}
