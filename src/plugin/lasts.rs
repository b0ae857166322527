//! From what a plugin says of its long work to entries of its description.

use super::describe::{refuse, shown};
use super::description::{Lasts, Offer};
use super::offers::Entry;
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::jobs;

/// Puts what the plugin says where that is done.
pub(super) fn jobs(entries: &mut [Entry], said: Vec<jobs::Lasting>) -> Result<(), Refusal> {
    for said in said {
        let of = shown(&said.of);
        let found = entries
            .iter_mut()
            .map(|(tool, _)| tool)
            .find(|tool| tool.name.tool() == said.of && tool.offer == Offer::Tool);
        let Some(tool) = found else {
            return Err(refuse(
                Reason::ComponentLies,
                format!("it says that calls of `{of}` run as jobs, and has no tool of that name"),
            ));
        };
        let lasts = Lasts {
            must: said.how.contains(jobs::How::MUST),
            asks_first: said.how.contains(jobs::How::ASKS_FIRST),
        };
        if tool.lasts.replace(lasts).is_some() {
            return Err(refuse(
                Reason::ComponentDescribe,
                format!("how calls of `{of}` run as jobs is said twice"),
            ));
        }
        if lasts.asks_first && tool.asks.is_empty() {
            return Err(refuse(
                Reason::ComponentLies,
                format!(
                    "`{of}` is to ask before its jobs begin, and says of nothing that it asks it"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::describe::ToolSchemas;
    use crate::plugin::description::{Hints, QuestionKind, Tool};
    use crate::plugin::schema::Schema;

    fn lasting(of: &str, how: jobs::How) -> jobs::Lasting {
        jobs::Lasting { of: of.into(), how }
    }

    #[test]
    fn what_lasts_is_a_tool_and_is_said_once() {
        let entry = |name: &str, offer, asks| -> Entry {
            let input_schema = json!({"type": "object"});
            let input = Schema::compile(&input_schema, "s").unwrap();
            let tool = Tool {
                name: format!("p.{name}").parse().unwrap(),
                title: None,
                description: "d".into(),
                input_schema,
                output_schema: None,
                hints: Hints::default(),
                uses: Vec::new(),
                offer,
                asks,
                lasts: None,
            };
            (
                tool,
                ToolSchemas {
                    input,
                    output: None,
                },
            )
        };
        let entries = || {
            [
                entry("t", Offer::Tool, Vec::new()),
                entry("a", Offer::Tool, vec![QuestionKind::Form]),
                entry("c", Offer::Completion, Vec::new()),
            ]
        };
        let none = jobs::How::empty();
        let mut good = entries();
        let said = vec![
            lasting("t", jobs::How::MUST),
            lasting("a", jobs::How::ASKS_FIRST),
        ];
        jobs(&mut good, said).unwrap();
        let lasts = |at: usize| good[at].0.lasts.map(|lasts| (lasts.must, lasts.asks_first));
        assert_eq!(lasts(0), Some((true, false)));
        assert_eq!(lasts(1), Some((false, true)));
        assert_eq!(lasts(2), None);
        for (said, reason) in [
            (vec![lasting("c", none)], Reason::ComponentLies),
            (vec![lasting("x", none)], Reason::ComponentLies),
            (
                vec![lasting("t", jobs::How::ASKS_FIRST)],
                Reason::ComponentLies,
            ),
            (
                vec![lasting("t", none), lasting("t", none)],
                Reason::ComponentDescribe,
            ),
        ] {
            assert_eq!(jobs(&mut entries(), said).unwrap_err().reason, reason);
        }
    }
}
