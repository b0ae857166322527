//! `[telemetry]`: what monitoring is told, and where.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::SecretPlace;
use super::file::Address;
use super::outside::{Place, service};
use super::quantity::{Quantity, Unit};

/// What monitoring is told. Nothing, unless the file says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Where Prometheus finds metrics.
    pub prometheus: Option<SocketAddr>,
    /// The collector that is sent traces and metrics.
    pub otlp: Option<Otlp>,
}

/// A collector that takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// Its URL, to which `/v1/traces` and `/v1/metrics` are added.
    pub endpoint: String,
    /// Whether it is sent traces.
    pub traces: bool,
    /// Whether it is sent metrics.
    pub metrics: bool,
    /// How often it is sent metrics.
    pub interval: Duration,
    /// Which calls it is sent traces of.
    pub sample: Sample,
    /// Further headers, by name, and where their values are.
    pub headers: BTreeMap<String, SecretPlace>,
}

/// Which calls leave a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sample {
    /// All, but those whose client does not record the trace that they are a part of.
    #[default]
    Parent,
    /// All.
    All,
}

/// `[telemetry]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TelemetryTable {
    prometheus: Option<Spanned<Address>>,
    otlp: Option<OtlpTable>,
}

/// `[telemetry.otlp]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtlpTable {
    #[serde(default)]
    endpoint: Endpoint,
    #[serde(default = "yes")]
    traces: bool,
    #[serde(default = "yes")]
    metrics: bool,
    #[serde(default)]
    interval: Interval,
    #[serde(default)]
    sample: Sample,
    #[serde(default)]
    headers: BTreeMap<Header, Place>,
}

const fn yes() -> bool {
    true
}

impl TelemetryTable {
    pub(super) fn telemetry(&self) -> Telemetry {
        Telemetry {
            prometheus: self.prometheus.as_ref().map(|listen| listen.get_ref().0),
            otlp: self.otlp.as_ref().map(|otlp| Otlp {
                endpoint: otlp.endpoint.0.clone(),
                traces: otlp.traces,
                metrics: otlp.metrics,
                interval: otlp.interval.0,
                sample: otlp.sample,
                headers: otlp
                    .headers
                    .iter()
                    .map(|(name, place)| (name.0.clone(), place.0.clone()))
                    .collect(),
            }),
        }
    }

    /// Makes relative paths start from `folder`.
    pub(super) fn within(&mut self, folder: &Path) {
        let headers = self
            .otlp
            .iter_mut()
            .flat_map(|otlp| otlp.headers.values_mut());
        for place in headers {
            if let SecretPlace::File(path) = &mut place.0 {
                *path = folder.join(&*path);
            }
        }
    }
}

/// The collector's URL.
#[derive(Debug, Clone, PartialEq)]
struct Endpoint(String);

impl Default for Endpoint {
    fn default() -> Self {
        // Where collectors listen for OTLP over HTTP.
        Self(String::from("http://127.0.0.1:4318"))
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Without the text: such URLs may carry a token.
        service(&text).map(Self).ok_or_else(|| {
            D::Error::custom(
                "`endpoint` is not where telemetry can be sent: write \"https://<host>\", without user, query or fragment (or `http` on loopback)",
            )
        })
    }
}

/// How often metrics are sent.
#[derive(Debug, Clone, PartialEq)]
struct Interval(Duration);

impl Default for Interval {
    fn default() -> Self {
        // What most collectors and dashboards go by.
        Self(Duration::from_secs(15))
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "interval",
            unit: Unit::Time,
            least: 1_000,
            most: 3_600_000,
        };
        quantity.read(deserializer).map(Self)
    }
}

/// The name of a header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Header(String);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// What the host writes itself.
        const OWN: &[&str] = &[
            "content-type",
            "content-length",
            "host",
            "connection",
            "transfer-encoding",
        ];
        let text = String::deserialize(deserializer)?;
        let name = http::HeaderName::try_from(&text).map_err(|_| {
            D::Error::custom(format_args!("`{}` is no header", text.escape_default()))
        })?;
        if OWN.contains(&name.as_str()) {
            return Err(D::Error::custom(format_args!(
                "the header `{name}` is the host's own"
            )));
        }
        Ok(Self(name.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Telemetry, String> {
        Config::parse(Path::new("/home/tollgate.toml"), text)
            .map(|config| config.telemetry)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_told_that_was_not_asked_for() {
        assert_eq!(read("").unwrap(), Telemetry::default());
        assert_eq!(read("[telemetry]").unwrap(), Telemetry::default());
        let otlp = read("[telemetry.otlp]").unwrap().otlp.unwrap();
        assert_eq!(otlp.endpoint, "http://127.0.0.1:4318");
        assert!(otlp.traces && otlp.metrics && otlp.headers.is_empty());
        assert_eq!(
            (otlp.interval, otlp.sample),
            (Duration::from_secs(15), Sample::Parent)
        );
    }

    #[test]
    fn all_keys_are_read() {
        let told = read(
            r#"
            [telemetry]
            prometheus = "127.0.0.1:9464"
            [telemetry.otlp]
            endpoint = "https://otlp.example/base/"
            traces = false
            interval = "1min"
            sample = "all"
            [telemetry.otlp.headers]
            Authorization = { source = "file", path = "otlp.key" }
            x-team = { source = "env", variable = "TEAM" }
            "#,
        )
        .unwrap();
        assert_eq!(
            told.prometheus,
            Some(SocketAddr::from(([127, 0, 0, 1], 9464)))
        );
        let otlp = told.otlp.unwrap();
        assert_eq!(otlp.endpoint, "https://otlp.example/base");
        assert_eq!(
            (otlp.traces, otlp.metrics, otlp.sample),
            (false, true, Sample::All)
        );
        assert_eq!(
            otlp.headers["authorization"],
            SecretPlace::File("/home/otlp.key".into())
        );
        assert_eq!(otlp.headers["x-team"], SecretPlace::Variable("TEAM".into()));
    }

    #[test]
    fn what_can_be_read_on_the_way_or_holds_a_secret_is_refused() {
        for endpoint in [
            "http://otlp.example",
            "https://user:CANARY@otlp.example",
            "https://otlp.example/?key=CANARY",
            "otlp.example:4318",
        ] {
            let said = read(&format!("[telemetry.otlp]\nendpoint = \"{endpoint}\"")).unwrap_err();
            assert!(
                said.contains("endpoint") && !said.contains("CANARY"),
                "{said}"
            );
        }
        for wrong in [
            "[telemetry]\nprometheus = \"9464\"",
            "[telemetry.otlp]\ninterval = \"1ms\"",
            "[telemetry.otlp]\nsample = \"half\"",
            "[telemetry.otlp.headers]\nhost = { source = \"env\", variable = \"X\" }",
            "[telemetry.otlp.headers]\nauthorization = \"CANARY\"",
            "[telemetry.otlp.headers]\nauthorization = { source = \"store\" }",
            "[telemetry.otlp]\ntoken = \"x\"",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
