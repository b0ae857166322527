//! The file as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::limits::{
    ApprovalsTable, CallTable, ConcurrencyTable, DescribeTable, JobsTable, MOST_CALLS, RateTable,
    TapesTable,
};
use super::outside::{AdminTable, WebhookTable};
use super::quantity::{Counted, Quantity, Unit};
use super::secret::Secret;
use super::server::ServerTable;
use super::telemetry::TelemetryTable;
use super::{Anchor, Format, Leases, Level, Proxy, SecretPlace, Sync, Tier, Vault};
use crate::name::{self, PluginName, Prefix, ToolName};
use crate::plugin::{Key, TrustedKey};

/// `tollgate.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) server: ServerTable,
    pub(super) issuer: super::issuer::Issuers,
    pub(super) admin: Option<AdminTable>,
    pub(super) webhook: Vec<WebhookTable>,
    pub(super) limits: CallTable,
    pub(super) describe: DescribeTable,
    pub(super) approvals: ApprovalsTable,
    pub(super) concurrency: ConcurrencyTable,
    pub(super) rate: RateTable,
    pub(super) jobs: JobsTable,
    pub(super) tools: Tools,
    pub(super) tier: BTreeMap<Spanned<Name>, OwnTier>,
    pub(super) tasks: Tasks,
    pub(super) tapes: TapesTable,
    pub(super) plugins: Plugins,
    pub(super) plugin: BTreeMap<Spanned<PluginName>, Plugin>,
    pub(super) secret: BTreeMap<Spanned<PluginName>, BTreeMap<Spanned<Name>, Secret>>,
    pub(super) vault: Option<Vault>,
    pub(super) leases: Leases,
    pub(super) egress: Egress,
    pub(super) journal: Journal,
    pub(super) log: Log,
    pub(super) telemetry: TelemetryTable,
}

/// `[tools]`: what goes for every tool.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tools {
    pub(super) tier: Option<Spanned<TierName>>,
    pub(super) approvals: Option<People>,
    pub(super) tape: Option<bool>,
    pub(super) jobs: Option<bool>,
}

/// `[tier.<name>]`: a tier of the operator's own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnTier {
    pub(super) like: Tier,
    pub(super) approvals: Option<People>,
    pub(super) tape: Option<bool>,
}

/// A tier by its name: one of the four, or one of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct TierName(pub(super) String);

/// `[tasks]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tasks {
    pub(super) required: bool,
}

/// `[plugins]`: what goes for every plugin.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Plugins {
    pub(super) keys: Vec<SigningKey>,
    pub(super) require_signature: Option<Spanned<bool>>,
}

/// A key whose signatures count.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningKey {
    #[serde(deserialize_with = "key")]
    key: Key,
    #[serde(default, deserialize_with = "time")]
    expires: Option<Duration>,
}

impl SigningKey {
    pub(super) fn trusted(&self) -> TrustedKey {
        TrustedKey {
            key: self.key.clone(),
            expires: self.expires,
        }
    }
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| D::Error::custom(format_args!("`{}` {error}", text.escape_default())))
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: Option<jiff::Timestamp> = text.parse().ok();
    time.and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .map(|millis| Some(Duration::from_millis(millis)))
        .ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{}` is no time: write it as \"2027-01-31T00:00:00Z\"",
                text.escape_default()
            ))
        })
}

/// `[plugin.<name>]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Plugin {
    pub(super) prefix: Option<Prefix>,
    pub(super) tier: Option<Spanned<TierName>>,
    pub(super) approvals: Option<People>,
    pub(super) tape: Option<bool>,
    pub(super) jobs: Option<bool>,
    pub(super) concurrency: Option<Calls>,
    pub(super) limits: CallTable,
    pub(super) describe: DescribeTable,
    pub(super) settings: BTreeMap<Name, String>,
    pub(super) tool: BTreeMap<Spanned<Name>, Tool>,
}

/// `[plugin.<name>.tool.<tool>]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tool {
    pub(super) tier: Option<Spanned<TierName>>,
    pub(super) approvals: Option<People>,
    pub(super) tape: Option<bool>,
    pub(super) jobs: Option<bool>,
    pub(super) labels: BTreeSet<Name>,
    pub(super) limits: CallTable,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Egress {
    pub(super) extra_ca: Vec<PathBuf>,
    pub(super) proxy: Option<Proxy>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Journal {
    pub(super) sync: Option<Spanned<Sync>>,
    pub(super) anchor: Vec<Anchor>,
    #[serde(deserialize_with = "segment_size")]
    pub(super) segment_size: Option<u64>,
    #[serde(deserialize_with = "segment_age")]
    pub(super) segment_age: Option<Duration>,
    pub(super) compress: Option<bool>,
    #[serde(deserialize_with = "keep_size")]
    pub(super) keep_size: Option<u64>,
    #[serde(deserialize_with = "keep_age")]
    pub(super) keep_age: Option<Duration>,
}

const MIB: u64 = 1 << 20;
const HOUR: u64 = 3_600_000;

fn within<'de, T: Counted, D: Deserializer<'de>>(
    name: &'static str,
    unit: Unit,
    (least, most): (u64, u64),
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let quantity = Quantity {
        name,
        unit,
        least,
        most,
    };
    quantity.read(deserializer).map(Some)
}

/// Smaller ones cost more in syncs than they protect; a start reads all of one.
fn segment_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    within("segment_size", Unit::Bytes, (MIB, 1024 * MIB), deserializer)
}

fn segment_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    within(
        "segment_age",
        Unit::Time,
        (60_000, 30 * 24 * HOUR),
        deserializer,
    )
}

fn keep_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    within(
        "keep_size",
        Unit::Bytes,
        (64 * MIB, MIB << 30),
        deserializer,
    )
}

fn keep_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    within(
        "keep_age",
        Unit::Time,
        (HOUR, 100 * 366 * 24 * HOUR),
        deserializer,
    )
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Level,
    pub(super) format: Format,
}

impl Journal {
    /// What is set, and the defaults of what is not.
    pub(super) fn set(&self) -> super::Journal {
        let default = super::Journal::default();
        super::Journal {
            sync: self.sync.as_ref().map_or(default.sync, |s| *s.get_ref()),
            segment_size: self.segment_size.unwrap_or(default.segment_size),
            segment_age: self.segment_age.unwrap_or(default.segment_age),
            compress: self.compress.unwrap_or(default.compress),
            keep_size: self.keep_size,
            keep_age: self.keep_age,
        }
    }
}

impl File {
    pub(super) fn plugin(&self, name: &PluginName) -> Option<&Plugin> {
        self.plugin
            .iter()
            .find(|(k, _)| *k.get_ref() == *name)
            .map(|(_, v)| v)
    }

    pub(super) fn tool(&self, name: &ToolName) -> Option<&Tool> {
        let tools = &self.plugin(name.plugin())?.tool;
        tools
            .iter()
            .find(|(k, _)| k.get_ref().0 == name.tool())
            .map(|(_, v)| v)
    }

    /// The tier that is set for a tool: its own, or its plugin's, or the host's.
    pub(super) fn tier_of(&self, name: &ToolName) -> Option<&str> {
        let plugin = self.plugin(name.plugin());
        self.tool(name)
            .and_then(|t| t.tier.as_ref())
            .or_else(|| plugin.and_then(|p| p.tier.as_ref()))
            .or(self.tools.tier.as_ref())
            .map(|tier| tier.get_ref().0.as_str())
    }

    /// The operator's own tier of this name.
    pub(super) fn own_tier(&self, name: &str) -> Option<&OwnTier> {
        self.tier
            .iter()
            .find(|(own, _)| own.get_ref().as_str() == name)
            .map(|(_, tier)| tier)
    }

    /// Whether anything at all is to be taped.
    pub(super) fn any_tape(&self) -> bool {
        let own = self.tier.values().map(|tier| tier.tape);
        let plugins = self.plugin.values().flat_map(|plugin| {
            let tools = plugin.tool.values().map(|tool| tool.tape);
            tools.chain([plugin.tape])
        });
        let mut all = own.chain(plugins).chain([self.tools.tape]);
        all.any(|tape| tape == Some(true))
    }

    /// What is wrong with the tiers, and where.
    pub(super) fn tier_fault(&self) -> Option<(std::ops::Range<usize>, String)> {
        for own in self.tier.keys() {
            let name = own.get_ref().as_str();
            if Tier::named(name).is_some() {
                let what = format!("`{name}` is a tier that there is already: choose another name");
                return Some((own.span(), what));
            }
        }
        let plugins = self.plugin.values().flat_map(|plugin| {
            let tools = plugin.tool.values().filter_map(|tool| tool.tier.as_ref());
            plugin.tier.iter().chain(tools)
        });
        let named = self.tools.tier.iter().chain(plugins);
        for tier in named {
            let name = &tier.get_ref().0;
            if Tier::named(name).is_none() && self.own_tier(name).is_none() {
                let what = format!(
                    "there is no tier `{}`: use \"auto\", \"log\", \"hold\", \"forbid\", or the name of a table `[tier.<name>]`",
                    name.escape_default()
                );
                return Some((tier.span(), what));
            }
        }
        None
    }

    pub(super) fn secret(&self, plugin: &PluginName, name: &str) -> Option<&Secret> {
        self.all_secrets()
            .find(|(p, n, _)| *p == plugin && *n == name)
            .map(|(_, _, secret)| secret)
    }

    pub(super) fn all_secrets(&self) -> impl Iterator<Item = (&PluginName, &str, &Secret)> {
        self.secret.iter().flat_map(|(plugin, secrets)| {
            secrets
                .iter()
                .map(|(name, secret)| (plugin.get_ref(), name.get_ref().as_str(), secret))
        })
    }

    pub(super) fn secret_places(&mut self) -> impl Iterator<Item = &mut SecretPlace> {
        let tables = self.secret.values_mut().flat_map(BTreeMap::values_mut);
        tables.map(|secret| &mut secret.place)
    }
}

/// The name of a tool, a setting, a secret or a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if name::is_plain(&text) {
            Ok(Self(text))
        } else {
            Err(D::Error::custom(format_args!(
                "`{}` can't be a name: use 1 to 64 of `a`-`z`, `A`-`Z`, `0`-`9`, `_` and `-`, starting with a letter or digit",
                text.escape_default()
            )))
        }
    }
}

/// Where a listener of the host's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub(super) SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            D::Error::custom(format_args!(
                "`{}` is no address to listen on: write an IP address and a port, such as \"127.0.0.1:8787\" or \"[::1]:8787\"",
                text.escape_default()
            ))
        })
    }
}

/// Calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls(pub(super) usize);

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "concurrency",
            unit: Unit::Count,
            least: 1,
            most: MOST_CALLS,
        };
        quantity.read(deserializer).map(Self)
    }
}

/// Persons who must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct People(pub(super) u32);

impl<'de> Deserialize<'de> for People {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "approvals",
            unit: Unit::Count,
            least: 1,
            // More never meet within the time that an ask lives.
            most: 8,
        };
        quantity.read(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Without the text: a proxy's URL may have a password in it.
        let wrong = || {
            D::Error::custom(
                "`proxy` is not an HTTP proxy: write \"http://<host>:<port>\", without user, path or query",
            )
        };
        let url = url::Url::parse(&text).map_err(|_| wrong())?;
        let bare = url.scheme() == "http"
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) if bare => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(wrong()),
        }
    }
}
