//! A host call as an operator types it, put as the question that the host would ask.

use url::Url;

use super::fault::Fault;
use crate::name::ToolName;
use crate::plugin::{Plugin, QuestionKind};
use crate::policy::{HostAction, Supposed, SupposedRequest, requirement_to};

/// What `--host-call` takes, for messages.
const FORMS: &str = "write `GET https://example.com/path`, `use-secret NAME`, `reveal-secret NAME`, `clock`, `random`, or `ask form` (`url`, `sampling`, `roots`)";

/// Reads what was typed, for a call of `tool` of `plugin`: a first request with nothing in it.
pub(crate) fn parse(text: &str, plugin: &Plugin, tool: &ToolName) -> Result<Supposed, Fault> {
    let origins = plugin.ceiling.origins();
    let requirement = |origin: &str| {
        requirement_to(&plugin.description, &origins, tool, origin).map(str::to_owned)
    };
    let secret_origin = |name: &str| origins.get(name).cloned();
    read(text, &requirement, &secret_origin)
}

fn read(
    text: &str,
    requirement: &dyn Fn(&str) -> Option<String>,
    secret_origin: &dyn Fn(&str) -> Option<String>,
) -> Result<Supposed, Fault> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match *words.as_slice() {
        ["clock"] => Ok(Supposed::bare(HostAction::Clock)),
        ["random"] => Ok(Supposed::bare(HostAction::Random)),
        ["ask", kind] if QuestionKind::ALL.iter().any(|known| known.as_str() == kind) => {
            Ok(Supposed::ask(kind, None))
        }
        ["use-secret", name] => secret(HostAction::UseSecret, name, secret_origin),
        ["reveal-secret", name] => secret(HostAction::RevealSecret, name, secret_origin),
        [method, url] if method.bytes().all(|b| b.is_ascii_uppercase()) => {
            let url = Url::parse(url).map_err(|error| {
                Fault::invalid(format!("`{url}` is no URL: {error}")).hint(FORMS)
            })?;
            let requirement = requirement(&url.origin().ascii_serialization());
            let request = SupposedRequest {
                method,
                requirement: requirement.as_deref().unwrap_or_default(),
                ..SupposedRequest::default()
            };
            Ok(Supposed::http(&url, &request))
        }
        _ => Err(Fault::invalid(format!("`{text}` is no host call")).hint(FORMS)),
    }
}

fn secret(
    action: HostAction,
    name: &str,
    origin: &dyn Fn(&str) -> Option<String>,
) -> Result<Supposed, Fault> {
    let origin = origin(name).ok_or_else(|| {
        Fault::invalid(format!(
            "the plugin asks for no secret `{name}`, or its origin is not set"
        ))
        .hint("`tollgate plugins inspect` shows what it asks for")
    })?;
    Ok(Supposed::secret(action, name, &origin, "bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Fact, HostQuestion as _, Target};

    fn asked(text: &str) -> Result<Supposed, Fault> {
        let api = |origin: &str| (origin == "https://api.github.com").then(|| "api".to_owned());
        let token = |name: &str| (name == "token").then(|| "https://api.github.com".to_owned());
        read(text, &api, &token)
    }

    #[test]
    fn a_request_is_put_as_the_host_would_put_it() {
        let asked = asked("GET https://api.github.com/user?x=1").unwrap();
        assert_eq!(asked.target(), Target::Origin("https://api.github.com"));
        let facts = asked.facts();
        for fact in [
            ("method", Fact::Text("GET".into())),
            ("path", Fact::Text("/user".into())),
            ("port", Fact::Whole(443)),
            ("query", Fact::Truth(true)),
            ("requirement", Fact::Text("api".into())),
        ] {
            assert!(facts.contains(&fact), "{fact:?}");
        }
    }

    #[test]
    fn what_is_no_host_call_is_refused() {
        for text in [
            "",
            "get https://x",
            "GET",
            "GET x",
            "use-secret",
            "use-secret other",
            "clock now",
        ] {
            let fault = asked(text).unwrap_err();
            assert_eq!(fault.exit, crate::cli::exit::Exit::Invalid, "{text}");
        }
        assert!(asked("use-secret token").is_ok());
        assert!(asked("random").is_ok());
    }
}
