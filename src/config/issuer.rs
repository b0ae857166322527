//! `[[issuer]]`: whose tokens are taken beside the host's own, and whom they name.
//!
//! Everything that decides is fixed here, before any token comes: the issuer, its keys, the
//! algorithms, the audience, and which of its clients is which agent. A token chooses none of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::identity::{AgentId, Algorithm, LOCAL_TRUST_DOMAIN};

/// The most that clocks may differ.
const MAX_LEEWAY: u64 = 60;

/// An issuer of tokens, as the operator set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name: the `iss` of its tokens, compared byte by byte.
    pub issuer: String,
    /// What `aud` must name. The server's own URL where absent.
    pub audience: Option<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// By how much its clock may differ.
    pub leeway: Duration,
    /// Whether its tokens are JWT-SVIDs (SPIFFE), whose `sub` is a workload.
    pub spiffe: bool,
    /// The trust domain of its agents. No other issuer has it.
    pub trust_domain: String,
    /// The claim that names the agent.
    pub agent_claim: AgentClaim,
    /// The claim that names the person on whose behalf it acts.
    pub user_claim: Option<String>,
    /// What stands before that name, so that two issuers' people are not taken for one another.
    pub user_prefix: String,
    /// Who is which agent: value of the claim, name of the agent.
    pub agents: BTreeMap<String, AgentId>,
    /// Values that begin so and are the agents' own names.
    pub agent_prefix: Option<String>,
    /// The scope that a token must have.
    pub scope: Option<String>,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file, as an absolute path once loaded from a home.
    File(PathBuf),
    /// At this URL.
    Url(String),
}

/// The claim that names the agent. No claim that describes a person is among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentClaim {
    /// The party to which the token was issued (OpenID Connect).
    Azp,
    /// The client (RFC 9068).
    ClientId,
    /// The subject. For tokens that a client gets for itself, and for JWT-SVIDs.
    Sub,
}

impl AgentClaim {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Azp => "azp",
            Self::ClientId => "client_id",
            Self::Sub => "sub",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    issuer: String,
    audience: Option<String>,
    jwks: Option<PathBuf>,
    jwks_url: Option<String>,
    algorithms: Option<Vec<Algorithm>>,
    leeway: Option<String>,
    #[serde(default)]
    spiffe: bool,
    trust_domain: Option<String>,
    agent: Option<String>,
    user: Option<String>,
    #[serde(default)]
    user_prefix: String,
    #[serde(default)]
    agents: BTreeMap<String, String>,
    agent_pattern: Option<String>,
    scope: Option<String>,
}

/// All of them. They are read together, since each must differ from the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Issuers(pub(super) Vec<Issuer>);

impl<'de> Deserialize<'de> for Issuers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tables = Vec::<Table>::deserialize(deserializer)?;
        let all = tables
            .into_iter()
            .map(issuer)
            .collect::<Result<Vec<_>, _>>()
            .map_err(D::Error::custom)?;
        let mut names = BTreeSet::new();
        let mut domains = BTreeSet::new();
        let mut people: Vec<&str> = Vec::new();
        for one in &all {
            if !names.insert(&one.issuer) {
                let name = &one.issuer;
                return Err(D::Error::custom(format_args!(
                    "two issuers are `{name}`: one `[[issuer]]` for each"
                )));
            }
            if !domains.insert(&one.trust_domain) {
                let domain = &one.trust_domain;
                return Err(D::Error::custom(format_args!(
                    "two issuers have the trust domain `{domain}`, so that one could name the other's agents: set `trust_domain` apart"
                )));
            }
        }
        for one in all.iter().filter(|one| one.user_claim.is_some()) {
            let prefix = one.user_prefix.as_str();
            if people
                .iter()
                .any(|other| other.starts_with(prefix) || prefix.starts_with(other))
            {
                let name = &one.issuer;
                return Err(D::Error::custom(format_args!(
                    "issuer `{name}`: it could name the people of another issuer: set `user_prefix` apart for each issuer with `user`"
                )));
            }
            people.push(prefix);
        }
        Ok(Self(all))
    }
}

fn issuer(table: Table) -> Result<Issuer, String> {
    let name = shown(&table.issuer);
    let wrong = |what: &str| format!("issuer `{name}`: {what}");
    if table.issuer.is_empty() || table.issuer.len() > 512 {
        return Err(wrong("`issuer` is the `iss` of its tokens, 1 to 512 bytes"));
    }
    let keys = match (table.jwks, table.jwks_url) {
        (Some(path), None) => KeySource::File(path),
        (None, Some(url)) => KeySource::Url(key_url(&url).map_err(|what| wrong(&what))?),
        _ => {
            return Err(wrong(
                "write one of `jwks` (a file with its keys) and `jwks_url`",
            ));
        }
    };
    let algorithms = table
        .algorithms
        .unwrap_or_else(|| vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]);
    if algorithms.is_empty() {
        return Err(wrong("`algorithms` names none"));
    }
    let leeway = leeway(table.leeway.as_deref()).map_err(|what| wrong(&what))?;
    let trust_domain = match table.trust_domain {
        Some(domain) => domain,
        None => host(&table.issuer).ok_or_else(|| {
            wrong("set `trust_domain`: its name is no URL whose host could be one")
        })?,
    };
    if trust_domain == LOCAL_TRUST_DOMAIN {
        return Err(wrong(
            "its trust domain is the host's own, whose agents only this host names",
        ));
    }
    let agent_claim = agent_claim(table.agent.as_deref(), table.spiffe).map_err(|w| wrong(&w))?;
    let user_claim = table.user;
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"'`\\".contains(&b);
    if table.user_prefix.len() > 64 || !table.user_prefix.bytes().all(plain) {
        return Err(wrong(
            "`user_prefix` has at most 64 visible ASCII letters, no quotes or backslashes",
        ));
    }
    if table.spiffe && user_claim.is_some() {
        return Err(wrong("a JWT-SVID names a workload and no `user`"));
    }
    if user_claim.as_deref() == Some(agent_claim.as_str()) {
        return Err(wrong(
            "`agent` and `user` are one claim: a person's token would be an agent's identity",
        ));
    }
    let mut agents = BTreeMap::new();
    for (value, agent) in table.agents {
        if value.contains('@') {
            return Err(wrong(&format!(
                "`{}` is a person's address: an agent needs a client of its own",
                shown(&value)
            )));
        }
        let id = id(&trust_domain, &agent).map_err(|what| wrong(&what))?;
        if agents.values().any(|known| *known == id) {
            return Err(wrong(&format!(
                "two of `agents` are `{agent}`: each agent has one identity"
            )));
        }
        agents.insert(value, id);
    }
    let agent_prefix = match table.agent_pattern {
        None => None,
        Some(pattern) => match pattern.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') && id(&trust_domain, "a").is_ok() => {
                Some(prefix.to_owned())
            }
            _ => {
                return Err(wrong(
                    "`agent_pattern` is the beginning of names and one `*`, such as \"build-*\"",
                ));
            }
        },
    };
    Ok(Issuer {
        issuer: table.issuer,
        audience: table.audience,
        keys,
        algorithms,
        leeway,
        spiffe: table.spiffe,
        trust_domain,
        agent_claim,
        user_claim,
        user_prefix: table.user_prefix,
        agents,
        agent_prefix,
        scope: table.scope,
    })
}

/// The agent `name` of a trust domain.
pub(crate) fn id(domain: &str, name: &str) -> Result<AgentId, String> {
    let id = if name.starts_with("spiffe://") {
        name.to_owned()
    } else {
        format!("spiffe://{domain}/agent/{name}")
    };
    let parsed: AgentId = id
        .parse()
        .map_err(|error: crate::identity::ParseAgentError| error.to_string())?;
    if parsed
        .as_str()
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once('/'))
        .map(|(d, _)| d)
        == Some(domain)
    {
        Ok(parsed)
    } else {
        Err(format!(
            "`{parsed}` is not of the trust domain `{domain}`, whose keys these are"
        ))
    }
}

fn agent_claim(name: Option<&str>, spiffe: bool) -> Result<AgentClaim, String> {
    match (name, spiffe) {
        (None | Some("sub"), true) => Ok(AgentClaim::Sub),
        (Some(_), true) => Err(String::from("the agent of a JWT-SVID is its `sub`")),
        (None | Some("azp"), false) => Ok(AgentClaim::Azp),
        (Some("client_id"), false) => Ok(AgentClaim::ClientId),
        (Some("sub"), false) => Ok(AgentClaim::Sub),
        (Some(other), false) => Err(format!(
            "`agent = \"{}\"` may describe a person, who is never an agent: use \"azp\", \"client_id\" or \"sub\"",
            shown(other)
        )),
    }
}

fn leeway(text: Option<&str>) -> Result<Duration, String> {
    let Some(text) = text else {
        // Machines that keep time at all are within a second; a virtual one after a pause is not.
        return Ok(Duration::from_secs(30));
    };
    text.strip_suffix('s')
        .and_then(|digits| digits.parse().ok())
        .filter(|seconds| *seconds <= MAX_LEEWAY)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`leeway` is at most \"{MAX_LEEWAY}s\", in seconds"))
}

fn key_url(text: &str) -> Result<String, String> {
    let wrong = || {
        String::from(
            "`jwks_url` is an `https` URL without a user name, a fragment or a query (`http` for this machine only)",
        )
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let bare = url.username().is_empty() && url.password().is_none();
    if matches!(url.scheme(), "https" | "http")
        && bare
        && url.fragment().is_none()
        && url.query().is_none()
    {
        Ok(url.to_string())
    } else {
        Err(wrong())
    }
}

fn host(issuer: &str) -> Option<String> {
    let url = url::Url::parse(issuer).ok()?;
    let host = url.host_str()?;
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    host.bytes().all(good).then(|| host.to_owned())
}

fn shown(text: &str) -> String {
    crate::name::shown(text, 160)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        issuer: Issuers,
    }

    fn read(text: &str) -> Result<Vec<Issuer>, String> {
        toml::from_str::<File>(text)
            .map(|file| file.issuer.0)
            .map_err(|error| error.message().to_owned())
    }

    const GOOD: &str = "[[issuer]]\nissuer = \"https://login.example\"\njwks = \"keys.json\"\n";

    #[test]
    fn what_is_left_out_has_a_default() {
        let all = read(GOOD).unwrap();
        assert_eq!(all[0].trust_domain, "login.example");
        assert_eq!(all[0].agent_claim, AgentClaim::Azp);
        assert_eq!(all[0].leeway, Duration::from_secs(30));
        assert_eq!(all[0].audience, None);
        assert!(!all[0].algorithms.contains(&Algorithm::Ps256));
    }

    #[test]
    fn what_would_let_a_token_choose_is_refused() {
        for (more, says) in [
            ("jwks_url = \"https://x.example/k\"", "one of `jwks`"),
            ("agent = \"email\"", "may describe a person"),
            ("agent = \"sub\"\nuser = \"sub\"", "are one claim"),
            ("trust_domain = \"tollgate.local\"", "the host's own"),
            ("leeway = \"61s\"", "at most"),
            ("leeway = \"5min\"", "at most"),
            ("algorithms = []", "names none"),
            ("algorithms = [\"HS256\"]", "unknown variant"),
            ("algorithms = [\"none\"]", "unknown variant"),
            ("agent_pattern = \"*-x\"", "one `*`"),
            (
                "[issuer.agents]\n\"ada@example.org\" = \"ada\"",
                "a person's address",
            ),
            (
                "[issuer.agents]\na = \"one\"\nb = \"one\"",
                "each agent has one identity",
            ),
            (
                "[issuer.agents]\na = \"spiffe://other/agent/a\"",
                "not of the trust domain",
            ),
            ("surprise = 1", "unknown field"),
        ] {
            let error = read(&format!("{GOOD}{more}\n")).unwrap_err();
            assert!(error.contains(says), "{more}: {error}");
        }
        let error = read(&format!("{GOOD}{GOOD}")).unwrap_err();
        assert!(error.contains("two issuers are"), "{error}");
        let other = GOOD.replace("https://login.example", "https://login.example/realm");
        let users = format!(
            "{GOOD}user = \"sub\"\n{}user = \"sub\"\n",
            GOOD.replace("login", "other")
        );
        let error = read(&users).unwrap_err();
        assert!(error.contains("the people of another issuer"), "{error}");
        let apart = users.replacen("user =", "user_prefix = \"a/\"\nuser =", 1);
        assert!(read(&apart).is_err(), "none is a prefix of all");
        let apart = apart.replace(
            "other.example\"\n",
            "other.example\"\nuser_prefix = \"b/\"\n",
        );
        assert_eq!(read(&apart).unwrap().len(), 2);
        let error = read(&format!("{GOOD}{other}")).unwrap_err();
        assert!(
            error.contains("two issuers have the trust domain"),
            "{error}"
        );
    }

    #[test]
    fn keys_come_from_where_they_can_not_be_changed_on_the_way() {
        for url in [
            "ftp://x.example/k",
            "https://a:b@x.example/k",
            "/k",
            "https://x.example/k#f",
        ] {
            let text =
                format!("[[issuer]]\nissuer = \"https://x.example\"\njwks_url = \"{url}\"\n");
            assert!(read(&text).unwrap_err().contains("jwks_url"), "{url}");
        }
    }
}
