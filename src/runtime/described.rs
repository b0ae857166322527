//! What a component said of itself, as it is kept beside its compiled code: it is asked once.
//!
//! Kept is what it said, not what the host made of that: each load holds it against every rule anew,
//! by the version of the host that loads.

mod offers;
mod tools;

use std::ops::BitOr;

use serde::{Deserialize, Serialize};

use self::offers::{Asking, Lasting, Prompt, Resource};
use self::tools::{Requirement, Tool};
use super::bindings::{jobs, prompts, questions, resources, tools as wit};

/// All that a component says of itself, unchecked.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) plugin: wit::Description,
    pub(crate) prompts: Vec<prompts::Prompt>,
    pub(crate) resources: Vec<resources::Offer>,
    pub(crate) questions: Vec<questions::Asking>,
    pub(crate) jobs: Vec<jobs::Lasting>,
}

/// As the contract has it; the names of its parts are those of `wit/`. None of them may be missing: what
/// an earlier host kept may leave out what it did not ask for, and is asked anew.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: String,
    summary: String,
    tools: Vec<Tool>,
    requirements: Vec<Requirement>,
    prompts: Vec<Prompt>,
    resources: Vec<Resource>,
    questions: Vec<Asking>,
    jobs: Vec<Lasting>,
}

/// Flags of the contract as they are kept: those of `all` that are set.
fn set<K: Copy, F>(all: &[(K, F)], is_set: impl Fn(&F) -> bool) -> Vec<K> {
    let set = all.iter().filter(|(_, flag)| is_set(flag));
    set.map(|(kind, _)| *kind).collect()
}

/// The same as flags again.
fn flags<K: PartialEq, F: Copy + BitOr<Output = F> + Default>(all: &[(K, F)], set: &[K]) -> F {
    let set = all.iter().filter(|(kind, _)| set.contains(kind));
    set.fold(F::default(), |all, (_, flag)| all | *flag)
}

/// What is kept of `said`.
pub(super) fn write(said: &Said) -> serde_json::Result<Vec<u8>> {
    let Said {
        plugin,
        prompts,
        resources,
        questions,
        jobs,
    } = said;
    serde_json::to_vec(&Kept {
        version: plugin.version.clone(),
        summary: plugin.summary.clone(),
        tools: plugin.tools.iter().map(Tool::from).collect(),
        requirements: plugin.requirements.iter().map(Requirement::from).collect(),
        prompts: prompts.iter().map(Prompt::from).collect(),
        resources: resources.iter().map(Resource::from).collect(),
        questions: questions.iter().map(Asking::from).collect(),
        jobs: jobs.iter().map(Lasting::from).collect(),
    })
}

/// What was said, from what was kept; none where it is of another form.
pub(super) fn read(kept: &[u8]) -> Option<Said> {
    let kept: Kept = serde_json::from_slice(kept).ok()?;
    Some(Said {
        plugin: wit::Description {
            version: kept.version,
            summary: kept.summary,
            tools: kept.tools.into_iter().map(wit::Tool::from).collect(),
            requirements: kept
                .requirements
                .into_iter()
                .map(wit::Requirement::from)
                .collect(),
        },
        prompts: kept.prompts.into_iter().map(Prompt::into).collect(),
        resources: kept.resources.into_iter().map(Resource::into).collect(),
        questions: kept.questions.into_iter().map(Asking::into).collect(),
        jobs: kept.jobs.into_iter().map(Lasting::into).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_said() {
        let tool = |name: &str, hints| wit::Tool {
            name: name.into(),
            title: (name == "b").then(|| "Title".into()),
            description: "d\u{202e}".into(),
            input_schema: r#"{"type": "object"}"#.into(),
            output_schema: (name == "a").then(|| "true".into()),
            hints,
            uses: vec!["api".into()],
        };
        let plugin = wit::Description {
            version: "1".into(),
            summary: "s".into(),
            tools: vec![
                tool("a", wit::Hints::READ_ONLY | wit::Hints::OPEN_WORLD),
                tool("b", wit::Hints::DESTRUCTIVE | wit::Hints::IDEMPOTENT),
            ],
            requirements: vec![
                wit::Requirement::Http(wit::HttpRequirement {
                    name: "api".into(),
                    origin: wit::OriginScope::Setting("origin".into()),
                    methods: vec!["GET".into()],
                    paths: vec!["/".into()],
                    why: "w".into(),
                }),
                wit::Requirement::Secret(wit::SecretRequirement {
                    name: "token".into(),
                    use_: wit::SecretUse::Reveal,
                    origin: wit::OriginScope::Literal("https://a.example".into()),
                    why: "w".into(),
                }),
                wit::Requirement::Setting(wit::SettingRequirement {
                    name: "origin".into(),
                    description: "d".into(),
                    default: None,
                }),
                wit::Requirement::Clock(wit::PlainRequirement { why: "c".into() }),
                wit::Requirement::Random(wit::PlainRequirement { why: "r".into() }),
            ],
        };
        let resource = |name: &str, at| resources::Offer {
            name: name.into(),
            title: None,
            description: "d".into(),
            at,
            mime_type: Some("text/plain".into()),
            size: Some(7),
            uses: Vec::new(),
        };
        let said = Said {
            plugin,
            prompts: vec![prompts::Prompt {
                name: "p".into(),
                title: Some("P".into()),
                description: "d".into(),
                arguments: vec![prompts::Argument {
                    name: "a".into(),
                    title: None,
                    description: Some("d".into()),
                    required: true,
                }],
                uses: vec!["api".into()],
            }],
            resources: vec![
                resource("r", resources::Place::Uri("x://r".into())),
                resource("s", resources::Place::Template("x://{s}".into())),
            ],
            questions: vec![questions::Asking {
                of: "a".into(),
                kinds: questions::Kinds::FORM | questions::Kinds::ROOTS,
                why: "w".into(),
            }],
            jobs: vec![jobs::Lasting {
                of: "a".into(),
                how: jobs::How::ASKS_FIRST,
            }],
        };
        let kept = write(&said).unwrap();
        let back = read(&kept).expect("its own form");
        assert_eq!(format!("{back:?}"), format!("{said:?}"));
        assert!(read(b"{}").is_none());
    }
}
