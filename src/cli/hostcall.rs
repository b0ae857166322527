//! A host call as an operator types it, put as the question that the host would ask.

use url::Url;

use super::fault::Fault;
use crate::name::ToolName;
use crate::plugin::{OriginScope, Plugin, Requirement};
use crate::policy::{Fact, HostAction, HostQuestion, Target};

/// What `--host-call` takes, for messages.
const FORMS: &str = "write `GET https://example.com/path`, `use-secret NAME`, `reveal-secret NAME`, `clock` or `random`";

/// A host call that nobody makes: the target and the facts are those of a first, empty request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    action: HostAction,
    target: String,
    facts: Vec<(&'static str, Fact)>,
}

impl Asked {
    /// Reads what was typed, for a call of `tool` of `plugin`.
    pub(crate) fn parse(text: &str, plugin: &Plugin, tool: &ToolName) -> Result<Self, Fault> {
        let uses = plugin
            .tool(tool)
            .map(|(tool, _)| tool.uses.as_slice())
            .unwrap_or_default();
        let origins = plugin.ceiling.origins();
        let requirement = |origin: &str| {
            let open = |name: &&String| {
                let requirement = plugin.description.requirement(name);
                matches!(requirement, Some(Requirement::Http(http)) if http.origin == OriginScope::AnyPublic)
            };
            let leads = |name: &&String| {
                let requirement = plugin.description.requirement(name);
                matches!(requirement, Some(Requirement::Http(_)))
                    && origins.get(*name).is_some_and(|o| o == origin)
            };
            uses.iter()
                .find(leads)
                .or_else(|| uses.iter().find(open))
                .cloned()
        };
        let secret_origin = |name: &str| origins.get(name).cloned();
        Self::read(text, &requirement, &secret_origin)
    }

    fn read(
        text: &str,
        requirement: &dyn Fn(&str) -> Option<String>,
        secret_origin: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Fault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match *words.as_slice() {
            ["clock"] => Ok(Self::bare(HostAction::Clock)),
            ["random"] => Ok(Self::bare(HostAction::Random)),
            ["use-secret", name] => Self::secret(HostAction::UseSecret, name, secret_origin),
            ["reveal-secret", name] => Self::secret(HostAction::RevealSecret, name, secret_origin),
            [method, url] if method.bytes().all(|b| b.is_ascii_uppercase()) => {
                Self::http(method, url, requirement)
            }
            _ => Err(Fault::invalid(format!("`{text}` is no host call")).hint(FORMS)),
        }
    }

    const fn bare(action: HostAction) -> Self {
        Self {
            action,
            target: String::new(),
            facts: Vec::new(),
        }
    }

    fn secret(
        action: HostAction,
        name: &str,
        origin: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Fault> {
        let origin = origin(name).ok_or_else(|| {
            Fault::invalid(format!(
                "the plugin asks for no secret `{name}`, or its origin is not set"
            ))
            .hint("`tollgate plugins inspect` shows what it asks for")
        })?;
        Ok(Self {
            action,
            target: name.to_owned(),
            facts: vec![
                ("origin", Fact::Text(origin)),
                ("scheme", Fact::Text(String::from("bearer"))),
            ],
        })
    }

    fn http(
        method: &str,
        url: &str,
        requirement: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Fault> {
        let url = Url::parse(url)
            .map_err(|error| Fault::invalid(format!("`{url}` is no URL: {error}")).hint(FORMS))?;
        let origin = url.origin().ascii_serialization();
        let text = |text: &str| Fact::Text(text.to_owned());
        let facts = vec![
            ("method", text(method)),
            ("path", text(url.path())),
            ("scheme", text(url.scheme())),
            ("host", text(url.host_str().unwrap_or_default())),
            (
                "port",
                Fact::Whole(i64::from(url.port_or_known_default().unwrap_or_default())),
            ),
            (
                "requirement",
                Fact::Text(requirement(&origin).unwrap_or_default()),
            ),
            ("query", Fact::Truth(url.query().is_some())),
            ("body_bytes", Fact::Whole(0)),
            ("secrets", Fact::Texts(Vec::new())),
            ("http_calls", Fact::Whole(0)),
        ];
        Ok(Self {
            action: HostAction::Http,
            target: origin,
            facts,
        })
    }
}

impl HostQuestion for Asked {
    fn action(&self) -> HostAction {
        self.action
    }

    fn target(&self) -> Target<'_> {
        match self.action {
            HostAction::Http | HostAction::Connect => Target::Origin(&self.target),
            HostAction::UseSecret | HostAction::RevealSecret => Target::Secret(&self.target),
            HostAction::Clock | HostAction::Random => Target::Plugin,
        }
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        self.facts.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Asked, Fault> {
        let api = |origin: &str| (origin == "https://api.github.com").then(|| "api".to_owned());
        let token = |name: &str| (name == "token").then(|| "https://api.github.com".to_owned());
        Asked::read(text, &api, &token)
    }

    #[test]
    fn a_request_is_put_as_the_host_would_put_it() {
        let asked = read("GET https://api.github.com/user?x=1").unwrap();
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
            let fault = read(text).unwrap_err();
            assert_eq!(fault.exit, crate::cli::exit::Exit::Invalid, "{text}");
        }
        assert!(read("use-secret token").is_ok());
        assert!(read("random").is_ok());
    }
}
