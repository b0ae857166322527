//! Decisions, held against a model that is small enough to be seen to be right: default deny, forbid
//! wins, whatever fails refuses, what people could still agree to is held, and of a chain the strictest
//! answer counts.
//!
//! The model knows nothing of Cedar. Rules are values here; only their text goes to the real decision.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Ada is in `writers`, and so in `staff`; the others are in no group.
const AGENTS: [&str; 3] = ["ada", "bob", "eve"];
const PEOPLE: [&str; 2] = ["kim", "lou"];

/// What is asked: two calls, and a request of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Comment,
    Search,
    Request,
}

#[derive(Debug, Clone)]
struct Question {
    agent: &'static str,
    chain: Vec<&'static str>,
    asked: Asked,
    user: Option<&'static str>,
    /// Its calls so far, and whether it has seen what is private.
    task: Option<(u64, bool)>,
    /// Who agreed, where anybody did.
    agreed: Option<BTreeSet<&'static str>>,
}

/// Parts of a rule: its text, and whether it matches.
type Who = (&'static str, fn(&str) -> bool);
type What = (&'static str, fn(Asked) -> bool);

const WHO: [Who; 4] = [
    ("principal", |_| true),
    (
        r#"principal == Agent::"spiffe://tollgate.local/agent/ada""#,
        |agent| agent == "ada",
    ),
    (
        r#"principal == Agent::"spiffe://tollgate.local/agent/bob""#,
        |agent| agent == "bob",
    ),
    (r#"principal in Group::"staff""#, |agent| agent == "ada"),
];
const ACTION: [What; 5] = [
    ("action", |_| true),
    (r#"action in Action::"call""#, |asked| {
        asked != Asked::Request
    }),
    (r#"action == Action::"call:github.comment""#, |asked| {
        asked == Asked::Comment
    }),
    (r#"action in [Action::"call:github.search"]"#, |asked| {
        asked == Asked::Search
    }),
    (r#"action in Action::"http""#, |asked| {
        asked == Asked::Request
    }),
];
const RESOURCE: [What; 5] = [
    ("resource", |_| true),
    (r#"resource in Plugin::"github""#, |_| true),
    (r#"resource is Tool in Plugin::"github""#, |asked| {
        asked != Asked::Request
    }),
    (r#"resource == Tool::"github.comment""#, |asked| {
        asked == Asked::Comment
    }),
    (r#"resource == Origin::"https://api.github.com""#, |asked| {
        asked == Asked::Request
    }),
];

/// A condition: its text, and whether it holds; none where it fails.
type Test = (
    &'static str,
    fn(&Question, Option<&BTreeSet<&'static str>>) -> Option<bool>,
);

const TESTS: [Test; 9] = [
    ("context.approved", |_, agreed| Some(agreed.is_some())),
    (r#"context.approvers.contains(User::"kim")"#, |_, agreed| {
        Some(agreed.is_some_and(|by| by.contains("kim")))
    }),
    (
        r#"context.approvers.containsAll([User::"kim", User::"lou"])"#,
        |_, agreed| Some(agreed.is_some_and(|by| by.len() == 2)),
    ),
    (
        "context has user && context.approvers.contains(context.user)",
        |asked, agreed| {
            let user = asked.user.zip(agreed);
            Some(user.is_some_and(|(user, by)| by.contains(user)))
        },
    ),
    (
        r#"context.chain.contains(Agent::"spiffe://tollgate.local/agent/bob")"#,
        |asked, _| Some(asked.chain.contains(&"bob")),
    ),
    (r#"context.tier == "write""#, |_, _| Some(true)),
    ("context has task", |asked, _| Some(asked.task.is_some())),
    (
        r#"context has task && context.task.labels.contains("private")"#,
        |asked, _| Some(asked.task.is_some_and(|(_, private)| private)),
    ),
    // Twice 2^62 is more than Cedar's numbers have.
    (
        "context has task && context.task.calls * 4611686018427387904 > 0",
        |asked, _| match asked.task {
            None => Some(false),
            Some((1, _)) => Some(true),
            Some(_) => None,
        },
    ),
];

#[derive(Clone)]
struct Rule {
    id: String,
    forbid: bool,
    who: Who,
    action: What,
    resource: What,
    /// Each `unless`, or `when`.
    tests: Vec<(bool, Test)>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl Rule {
    fn text(&self) -> String {
        let effect = if self.forbid { "forbid" } else { "permit" };
        let (id, who, action, resource) = (&self.id, self.who.0, self.action.0, self.resource.0);
        let mut text = format!("@id(\"{id}\") {effect}({who}, {action}, {resource})");
        for (unless, (test, _)) in &self.tests {
            let word = if *unless { "unless" } else { "when" };
            text.push_str(&format!(" {word} {{ {test} }}"));
        }
        text + ";\n"
    }

    /// Whether its scope is about this.
    fn is_about(&self, agent: &str, asked: Asked) -> bool {
        self.who.1(agent) && self.action.1(asked) && self.resource.1(asked)
    }

    /// What can never match is an error in a plugin's own file.
    fn can_match(&self) -> bool {
        let optional = |(_, (text, _)): &&(bool, Test)| text.contains(" has ");
        [Asked::Comment, Asked::Search, Asked::Request]
            .iter()
            .any(|asked| self.action.1(*asked) && self.resource.1(*asked))
            && self.tests.iter().filter(optional).count() < 2
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Allow(Vec<String>),
    Hold(Vec<String>),
    Refuse(&'static str, Vec<String>),
}

/// For one agent, with exactly this agreement.
fn once(
    rules: &[Rule],
    agent: &str,
    asked: &Question,
    agreed: Option<&BTreeSet<&'static str>>,
) -> Answer {
    let (mut permits, mut forbids, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for rule in rules
        .iter()
        .filter(|rule| rule.is_about(agent, asked.asked))
    {
        // One after the other; what comes after a test that does not hold is not looked at.
        let mut applies = Some(true);
        for (unless, (_, test)) in &rule.tests {
            if applies == Some(true) {
                applies = test(asked, agreed).map(|holds| holds != *unless);
            }
        }
        match applies {
            None => failed.push(rule.id.clone()),
            Some(true) if rule.forbid => forbids.push(rule.id.clone()),
            Some(true) => permits.push(rule.id.clone()),
            Some(false) => {}
        }
    }
    if !failed.is_empty() {
        Answer::Refuse("policy.error", failed)
    } else if !forbids.is_empty() {
        Answer::Refuse("policy.forbidden", forbids)
    } else if permits.is_empty() {
        Answer::Refuse("policy.default_deny", Vec::new())
    } else {
        Answer::Allow(permits)
    }
}

/// For one agent: held, where it is refused now and would be allowed once people agreed as well: all, or
/// all but the agent's own user, or anybody.
fn alone(rules: &[Rule], agent: &str, asked: &Question) -> Answer {
    let given = asked.agreed.clone().unwrap_or_default();
    let now = once(rules, agent, asked, asked.agreed.as_ref());
    let Answer::Refuse("policy.forbidden" | "policy.default_deny", _) = now else {
        return now;
    };
    // Nobody is asked about what no permit is about.
    let permit = |rule: &Rule| !rule.forbid && rule.is_about(agent, asked.asked);
    if !rules.iter().any(permit) {
        return now;
    }
    let all = BTreeSet::from(PEOPLE);
    let others = all.iter().copied().filter(|p| asked.user != Some(*p));
    for more in [all.clone(), others.collect(), BTreeSet::new()] {
        let agreed: BTreeSet<_> = given.union(&more).copied().collect();
        match once(rules, agent, asked, Some(&agreed)) {
            Answer::Allow(ids) => return Answer::Hold(ids),
            failed @ Answer::Refuse("policy.error", _) => return failed,
            _ => {}
        }
    }
    now
}

/// The model's answer, as `said` writes it.
fn expected(rules: &[Rule], asked: &Question) -> String {
    let (mut held, mut all) = (false, BTreeSet::new());
    for agent in std::iter::once(&asked.agent).chain(&asked.chain) {
        match alone(rules, agent, asked) {
            Answer::Refuse(reason, ids) => return written(reason, ids.into_iter().collect()),
            Answer::Hold(ids) => {
                held = true;
                all.extend(ids);
            }
            Answer::Allow(ids) => all.extend(ids),
        }
    }
    written(if held { "hold" } else { "allow" }, all)
}

fn written(word: &str, ids: BTreeSet<String>) -> String {
    let ids: Vec<String> = ids.into_iter().collect();
    format!("{word} {}", ids.join(",")).trim_end().to_owned()
}

/// The real answer.
fn answered(set: &PolicySet, asked: &Question) -> String {
    let mut call = match asked.asked {
        Asked::Search => call(asked.agent, "github.search", json!({})),
        Asked::Comment | Asked::Request => comment(asked.agent),
    };
    call = call.handed_on_by(&asked.chain);
    call.user = asked.user;
    call.task = asked.task.map(|(calls, private)| TaskFacts {
        calls,
        labels: private.then(|| "private".to_owned()).into_iter().collect(),
        ..TaskFacts::default()
    });
    let people = asked
        .agreed
        .as_ref()
        .map(|by| by.iter().copied().collect::<Vec<_>>());
    let said = if asked.asked == Asked::Request {
        let request = Subject::HostCall {
            action: "http".to_owned(),
            method: "GET".to_owned(),
            url: ORIGIN.to_owned(),
            body: Digest::of(b""),
            secret: None,
        };
        let approval = people.map(|people| call.approved(request, &people));
        let facts = CallFacts {
            approval: approval.as_ref(),
            ..call.facts()
        };
        said(set.decide_host_call(&facts, http(ORIGIN, "GET", "/repos/x")))
    } else {
        call.approval = people.map(|people| call.approved(Subject::Call {}, &people));
        call.decide(set)
    };
    let (word, ids) = said.split_once(' ').unwrap_or((&said, ""));
    let ids = ids.split(',').filter(|id| !id.is_empty());
    written(word, ids.map(str::to_owned).collect())
}

fn rules(file: &'static str) -> impl Strategy<Value = Vec<Rule>> {
    let test = (prop::bool::weighted(0.3), select(TESTS.to_vec()));
    let rule = (
        prop::bool::weighted(0.3),
        select(WHO.to_vec()),
        select(ACTION.to_vec()),
        select(RESOURCE.to_vec()),
        prop::collection::vec(test, 0..3),
    );
    prop::collection::vec(rule, 0..5).prop_map(move |rules| {
        rules
            .into_iter()
            .enumerate()
            .map(|(at, (forbid, who, action, resource, tests))| Rule {
                id: format!("{file}{at}"),
                forbid,
                who,
                action,
                resource,
                tests,
            })
            .collect()
    })
}

fn question() -> impl Strategy<Value = Question> {
    (
        Just(AGENTS.to_vec()).prop_shuffle(),
        1..=AGENTS.len(),
        select(vec![Asked::Comment, Asked::Search, Asked::Request]),
        select(vec![None, Some("kim")]),
        prop::option::of((1..=2_u64, any::<bool>())),
        prop::option::of(prop::sample::subsequence(PEOPLE.to_vec(), 0..=2)),
    )
        .prop_map(|(agents, length, asked, user, task, agreed)| Question {
            agent: agents[0],
            chain: agents[1..length].to_vec(),
            asked,
            user,
            task,
            agreed: agreed.map(|people| people.into_iter().collect()),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn decisions_are_those_of_the_model(
        shared in rules("s"),
        own in rules("o"),
        questions in prop::collection::vec(question(), 24),
    ) {
        let own: Vec<Rule> = own.into_iter().filter(Rule::can_match).collect();
        let text = |rules: &[Rule]| rules.iter().map(Rule::text).collect::<String>();
        let dir = Dir::new(&[("shared.cedar", &text(&shared)), ("github.cedar", &text(&own))]);
        let loaded = dir.load(None);
        let broken = loaded.findings.iter().find(|f| f.severity == Severity::Error);
        prop_assert!(broken.is_none(), "{broken:?}");
        let (set, all) = (loaded.set, [shared, own].concat());
        for asked in &questions {
            let answer = answered(&set, asked);
            prop_assert_eq!(&answer, &expected(&all, asked), "{:?}", asked);
            // What could be allowed is shown, and gets its handle.
            if answer.starts_with("allow") || answer.starts_with("hold") {
                let tool = if asked.asked == Asked::Search { "search" } else { "comment" };
                let tool = format!("github.{tool}").parse().unwrap();
                for agent in std::iter::once(&asked.agent).chain(&asked.chain) {
                    let agent = agent.parse().unwrap();
                    let shown = match asked.asked {
                        Asked::Request => set.may_use(&agent, asked.user, &tool, "api"),
                        _ => set.may_call(&agent, asked.user, &tool),
                    };
                    prop_assert!(shown, "{:?}", asked);
                }
            }
        }
    }
}
