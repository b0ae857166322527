//! What an agent is told of the approval that its call waits for.
//!
//! The same whichever way it asked: a client that can do more is asked to show the page (`mcp::held`).
//! Nothing in it is a right: the identifier and the address name the approval, and who may answer is
//! decided where a person does.

use serde_json::{Map, Value};

use crate::approval::Asked;
use crate::clock::rfc3339;

/// Adds what there is to know to the structured content; gives the text that goes with the refusal's.
pub(super) fn tell(asked: &Asked, url: Option<String>, told: &mut Map<String, Value>) -> String {
    let expires = rfc3339(asked.expires);
    let persons = match asked.needed {
        0 | 1 => String::from("a person"),
        more => format!("{more} persons"),
    };
    let place = url.as_ref().map_or_else(
        || format!("with `tollgate approvals show {}`", asked.id),
        |url| format!("at {url}"),
    );
    told.insert("approvalId".to_owned(), asked.id.to_string().into());
    if let Some(url) = url {
        told.insert("approvalUrl".to_owned(), url.into());
    }
    told.insert("expiresAt".to_owned(), expires.clone().into());
    told.insert("needed".to_owned(), asked.needed.into());
    told.insert("retry".to_owned(), "same arguments".into());
    format!(
        ". {persons} can look at it and answer {place}, until {expires}; tell your user. You can't answer it yourself. \
         Once it is approved, call again with the same arguments."
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_agent_learns_what_it_waits_for_and_what_to_do() {
        let asked = Asked {
            id: "approval_aaaaaaaaaaaaaaaa".parse().unwrap(),
            expires: Duration::from_secs(1_795_305_600),
            needed: 2,
        };
        let mut told = Map::new();
        let url = "http://127.0.0.1:8788/approvals/approval_aaaaaaaaaaaaaaaa";
        let text = tell(&asked, Some(url.into()), &mut told);
        insta::assert_snapshot!(text, @". 2 persons can look at it and answer at http://127.0.0.1:8788/approvals/approval_aaaaaaaaaaaaaaaa, until 2026-11-22T00:00:00.000Z; tell your user. You can't answer it yourself. Once it is approved, call again with the same arguments.");
        insta::assert_snapshot!(Value::Object(told), @r#"{"approvalId":"approval_aaaaaaaaaaaaaaaa","approvalUrl":"http://127.0.0.1:8788/approvals/approval_aaaaaaaaaaaaaaaa","expiresAt":"2026-11-22T00:00:00.000Z","needed":2,"retry":"same arguments"}"#);
        let mut told = Map::new();
        let text = tell(&asked, None, &mut told);
        assert!(
            text.contains("`tollgate approvals show approval_"),
            "{text}"
        );
        assert!(!told.contains_key("approvalUrl"));
    }
}
