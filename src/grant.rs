//! From requirements to grants: what one call may reach at most.
//!
//! A requirement is the plugin's ceiling, the tool's `uses` a lower one, and policy's "could this
//! be allowed at all" for this agent the lowest. What is left becomes the call's grants. A grant
//! opens a handle; each use of the handle is decided again, in full.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::egress::{self, Scope};
use crate::plugin::{Description, OriginScope, Requirement};
use crate::reason::{Reason, Refusal};

/// What policy approved of one requirement.
#[derive(Debug, Clone)]
pub enum Grant {
    /// HTTP requests within this scope.
    Http(Scope),
    /// The use of a secret towards one origin.
    Secret {
        /// The only origin that it may go to.
        origin: egress::Origin,
        /// Whether the plugin may ask for its value.
        reveal: bool,
    },
    /// A value that the operator gave, or the default, or none.
    Setting(Option<String>),
    /// The time of day.
    Clock,
    /// Random bytes.
    Random,
}

/// The grants of one call, by the requirement's name.
#[derive(Debug, Clone, Default)]
pub struct Grants(BTreeMap<String, Arc<Grant>>);

impl Grants {
    /// The grant of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Grant>> {
        self.0.get(name).cloned()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Those whose name `keep` says yes to.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| keep(name))
                .map(|(name, grant)| (name.clone(), Arc::clone(grant)))
                .collect(),
        )
    }

    /// The origins that these reach, by the requirement's name; none for any public one.
    #[must_use]
    pub fn origins(&self) -> BTreeMap<String, String> {
        self.0
            .iter()
            .filter_map(|(name, grant)| {
                let origin = match grant.as_ref() {
                    Grant::Http(scope) => scope.origin()?,
                    Grant::Secret { origin, .. } => origin,
                    _ => return None,
                };
                Some((name.clone(), origin.to_string()))
            })
            .collect()
    }

    /// The most that a plugin can be granted: every requirement, with the operator's settings in it.
    ///
    /// A requirement whose origin is a setting without a value is left out: it reaches nothing.
    ///
    /// # Errors
    ///
    /// A setting that should be an origin is none, or a path is no path.
    pub fn ceiling(
        description: &Description,
        settings: &BTreeMap<String, String>,
    ) -> Result<Self, Refusal> {
        let value = |name: &str| {
            settings
                .get(name)
                .cloned()
                .or_else(|| match description.requirement(name) {
                    Some(Requirement::Setting(setting)) => setting.default.clone(),
                    _ => None,
                })
        };
        let mut grants = BTreeMap::new();
        for requirement in &description.requirements {
            let grant = match requirement {
                Requirement::Http(http) => {
                    let setting = match &http.origin {
                        OriginScope::Setting(name) => match value(name) {
                            Some(value) => Some(value),
                            None => continue,
                        },
                        _ => None,
                    };
                    let scope = Scope::new(http, |_| setting.as_deref()).map_err(|error| {
                        Refusal::new(Reason::ComponentDescribe, error.to_string())
                    })?;
                    Grant::Http(scope)
                }
                Requirement::Secret(secret) => match origin(&secret.origin, &value)? {
                    Some(origin) => Grant::Secret {
                        origin,
                        reveal: secret.reveal,
                    },
                    None => continue,
                },
                Requirement::Setting(setting) => Grant::Setting(value(&setting.name)),
                Requirement::Clock { .. } => Grant::Clock,
                Requirement::Random { .. } => Grant::Random,
            };
            grants.insert(requirement.name().to_owned(), Arc::new(grant));
        }
        Ok(Self(grants))
    }
}

fn origin(
    scope: &OriginScope,
    value: &impl Fn(&str) -> Option<String>,
) -> Result<Option<egress::Origin>, Refusal> {
    let (text, place) = match scope {
        OriginScope::Literal(text) => (Some(text.clone()), String::from("the description")),
        OriginScope::Setting(name) => (value(name), format!("the setting `{name}`")),
        OriginScope::AnyPublic => (None, String::new()),
    };
    text.map(|text| {
        egress::Origin::parse(&text).map_err(|refusal| {
            Refusal::new(
                Reason::ComponentDescribe,
                format!(
                    "{place}: `{}` is not an origin such as `https://api.example.com`: {}",
                    text.escape_default(),
                    refusal.message
                ),
            )
        })
    })
    .transpose()
}
