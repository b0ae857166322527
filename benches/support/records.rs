//! Records as calls of an ordinary tool leave them.

use tollgate::digest::Digest;
use tollgate::journal::record::{ArgumentsView, CallId, Caller, Intent};
use tollgate::policy::{Ground, PolicyRef};

pub(crate) fn ground() -> Ground {
    Ground {
        policies: vec![PolicyRef {
            id: String::from("github-reads"),
            file: String::from("github.cedar"),
            line: 12,
        }],
        set: Digest::of(b"set"),
        errors: Vec::new(),
    }
}

/// About 900 bytes as a line.
pub(crate) fn intent(call: CallId, agent: &str, user: Option<String>, view: String) -> Intent {
    Intent {
        call,
        caller: Caller {
            agent: agent.parse().expect("a name"),
            user,
            transport: String::from("http"),
            client: Some(String::from("inspector 1.0")),
            task: None,
            chain: Vec::new(),
        },
        tool: "github.search".parse().expect("a tool"),
        kind: Default::default(),
        round: None,
        job: None,
        plugin: Digest::of(b"plugin"),
        arguments: ArgumentsView {
            digest: Some(Digest::of(view.as_bytes())),
            bytes: view.len() as u64,
            view,
            cut: false,
        },
        attempt: 1,
        grants: vec![String::from("api"), String::from("token")],
        decision: ground(),
    }
}
