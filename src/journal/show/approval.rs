//! Approvals, for people.

use super::{BAD, Look, SHORT, STRONG, foreign, numbered};
use crate::journal::escape::escape;
use crate::journal::record::Event;

/// Who was asked, and what came of it.
pub(super) fn told(event: &Event, look: Look) -> Vec<String> {
    let status = |text: &str| look.paint(STRONG, &foreign(text, SHORT));
    match event {
        Event::ApprovalAsked(asked) => {
            let mut parts = vec![asked.approval.to_string()];
            parts.extend(asked.host_call.as_ref().map(numbered));
            if asked.merged > 0 {
                parts.push(format!("asked {} times before", asked.merged));
            }
            if asked.needed > 1 {
                parts.push(format!("{} must agree", asked.needed));
            }
            parts.push(format!("until {}", foreign(&asked.expires, SHORT)));
            parts
        }
        Event::ApprovalAnswered(answered) => {
            let said = if answered.approve { "yes" } else { "no" };
            let mut parts = vec![answered.approval.to_string()];
            parts.push(format!("{} said {said}", escape(answered.by.as_str())));
            parts.extend(answered.standing_s.map(|s| format!("for {s} s")));
            parts.extend(answered.why.as_deref().map(|text| foreign(text, SHORT)));
            match answered.refused {
                Some(reason) => parts.push(look.paint(BAD, reason.code())),
                None => parts.push(status(&answered.status)),
            }
            parts
        }
        Event::ApprovalUsed(used) => {
            let by: Vec<String> = used.by.iter().map(|p| escape(p.as_str())).collect();
            let mut parts = vec![used.approval.to_string()];
            parts.push(format!("given by {}", by.join(", ")));
            if used.asked != used.call {
                parts.push(format!("asked for by call {}", used.asked));
            }
            if used.standing {
                parts.push("standing".to_owned());
            }
            parts
        }
        Event::ApprovalEnded(ended) => {
            let mut parts = vec![ended.approval.to_string(), status(&ended.status)];
            parts.extend(ended.why.as_deref().map(|text| foreign(text, SHORT)));
            parts
        }
        _ => Vec::new(),
    }
}
