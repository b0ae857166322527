//! What a plugin needs. A requirement is a ceiling: policy grants, per call, at most this.
//!
//! The host holds requirements and imports against each other: a plugin that declares what it never calls, or calls
//! what it never declared, is refused when it is loaded.

use crate::bindings::exports::tollgate::plugin::tools;

/// A requirement, as [`plugin!`](crate::plugin) takes it.
#[derive(Debug, Clone)]
pub struct Requirement(pub(crate) tools::Requirement);

/// Which origin (scheme, host, port) a requirement is about.
#[derive(Debug, Clone)]
pub struct OriginScope(tools::OriginScope);

/// This origin, in canonical form and without a path: `https://api.example.com`.
#[must_use]
pub fn literal(origin: &str) -> OriginScope {
    OriginScope(tools::OriginScope::Literal(origin.to_owned()))
}

/// The origin that the operator gives in the setting of this name.
#[must_use]
pub fn from_setting(setting: &str) -> OriginScope {
    OriginScope(tools::OriginScope::Setting(setting.to_owned()))
}

/// Any `https` origin on the default port whose addresses are all public. Not for secrets.
#[must_use]
pub fn any_public() -> OriginScope {
    OriginScope(tools::OriginScope::AnyPublic)
}

/// The time of day ([`clock`](crate::clock)).
#[must_use]
pub fn clock(why: &str) -> Requirement {
    Requirement(tools::Requirement::Clock(tools::PlainRequirement {
        why: why.to_owned(),
    }))
}

/// Random bytes fit for keys ([`random`](crate::random)).
#[must_use]
pub fn random(why: &str) -> Requirement {
    Requirement(tools::Requirement::Random(tools::PlainRequirement {
        why: why.to_owned(),
    }))
}

/// Requests within an origin, `GET` of any path unless said otherwise.
#[must_use]
pub fn http(name: &str, origin: OriginScope, why: &str) -> Http {
    Http(tools::HttpRequirement {
        name: name.to_owned(),
        origin: origin.0,
        methods: vec!["GET".to_owned()],
        paths: vec!["/".to_owned()],
        why: why.to_owned(),
    })
}

/// A secret that the host puts into requests to this origin; the plugin never sees it.
#[must_use]
pub fn secret(name: &str, origin: OriginScope, why: &str) -> Secret {
    Secret(tools::SecretRequirement {
        name: name.to_owned(),
        use_: tools::SecretUse::Attach,
        origin: origin.0,
        why: why.to_owned(),
    })
}

/// A value that the operator gives.
#[must_use]
pub fn setting(name: &str, description: &str) -> Setting {
    Setting(tools::SettingRequirement {
        name: name.to_owned(),
        description: description.to_owned(),
        default: None,
    })
}

/// See [`http`].
#[derive(Debug, Clone)]
pub struct Http(tools::HttpRequirement);

impl Http {
    /// These methods, in capitals, and no other.
    #[must_use]
    pub fn methods<const N: usize>(mut self, methods: [&str; N]) -> Self {
        self.0.methods = methods.map(str::to_owned).to_vec();
        self
    }

    /// Paths that start with one of these, and no other. A prefix that ends with `/` covers what is below it, any
    /// other covers itself and what is below it.
    #[must_use]
    pub fn paths<const N: usize>(mut self, paths: [&str; N]) -> Self {
        self.0.paths = paths.map(str::to_owned).to_vec();
        self
    }
}

/// See [`secret`].
#[derive(Debug, Clone)]
pub struct Secret(tools::SecretRequirement);

impl Secret {
    /// The plugin reads the value as well, where policy says so by name. Ask for it only where nothing else will do.
    #[must_use]
    pub fn reveal(mut self) -> Self {
        self.0.use_ = tools::SecretUse::Reveal;
        self
    }
}

/// See [`setting`].
#[derive(Debug, Clone)]
pub struct Setting(tools::SettingRequirement);

impl Setting {
    /// The value where the operator sets none.
    #[must_use]
    pub fn default(mut self, value: &str) -> Self {
        self.0.default = Some(value.to_owned());
        self
    }
}

impl From<Http> for Requirement {
    fn from(http: Http) -> Self {
        Self(tools::Requirement::Http(http.0))
    }
}

impl From<Secret> for Requirement {
    fn from(secret: Secret) -> Self {
        Self(tools::Requirement::Secret(secret.0))
    }
}

impl From<Setting> for Requirement {
    fn from(setting: Setting) -> Self {
        Self(tools::Requirement::Setting(setting.0))
    }
}

impl Requirement {
    /// The name by which tools refer to it.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            tools::Requirement::Http(http) => &http.name,
            tools::Requirement::Secret(secret) => &secret.name,
            tools::Requirement::Setting(setting) => &setting.name,
            tools::Requirement::Clock(_) => "clock",
            tools::Requirement::Random(_) => "random",
        }
    }

    /// The setting that its origin comes from.
    pub(crate) fn origin_setting(&self) -> Option<&str> {
        let origin = match &self.0 {
            tools::Requirement::Http(http) => &http.origin,
            tools::Requirement::Secret(secret) => &secret.origin,
            _ => return None,
        };
        match origin {
            tools::OriginScope::Setting(setting) => Some(setting),
            tools::OriginScope::Literal(_) | tools::OriginScope::AnyPublic => None,
        }
    }
}
