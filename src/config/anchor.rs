//! `[[journal.anchor]]`: where checkpoints go, so that the journal's end is kept elsewhere too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::outside::service;
use super::quantity::{Quantity, Unit};
use crate::journal::note::VerifierKey;

/// How often, where nothing else is said: as often as a host that idles has something new to say, ten
/// times over.
const EVERY: Duration = Duration::from_secs(600);

/// A place outside of the journal that checkpoints go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// Which.
    pub to: AnchorTo,
    /// How often at most; a journal without new records has nothing to send.
    pub every: Duration,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AnchorTo {
    /// A file, best on another disk or machine, or one that can only be appended to.
    File(PathBuf),
    /// The daemon's standard output, where something collects it.
    Stdout,
    /// The system's log.
    Syslog,
    /// A witness, as C2SP tlog-witness has it.
    Witness {
        /// Its submission prefix, without a slash at the end.
        url: String,
        /// What it signs with.
        key: Box<VerifierKey>,
    },
}

impl std::fmt::Display for AnchorTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Stdout => f.write_str("stdout"),
            Self::Syslog => f.write_str("syslog"),
            Self::Witness { key, .. } => write!(f, "witness {}", key.name()),
        }
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: Kind,
    path: Option<PathBuf>,
    url: Option<String>,
    key: Option<String>,
    every: Option<Every>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    File,
    Stdout,
    Syslog,
    Witness,
}

struct Every(Duration);

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "every",
            unit: Unit::Time,
            least: 1_000,
            most: 24 * 3_600_000,
        };
        quantity.read(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Anchor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = Table::deserialize(deserializer)?;
        let (path, witness) = (
            table.path.is_some(),
            table.url.is_some() || table.key.is_some(),
        );
        let to = match (table.kind, table.path, table.url, table.key) {
            (Kind::File, Some(path), None, None) if !path.as_os_str().is_empty() => {
                AnchorTo::File(path)
            }
            (Kind::File, ..) => {
                return Err(D::Error::custom(
                    "an anchor of the kind `file` has `path`, and neither `url` nor `key`",
                ));
            }
            (Kind::Witness, None, Some(url), Some(key)) => AnchorTo::Witness {
                url: submission::<D::Error>(&url)?,
                key: Box::new(witness_key::<D::Error>(&key)?),
            },
            (Kind::Witness, ..) => {
                return Err(D::Error::custom(
                    "an anchor of the kind `witness` has `url` and `key`, and no `path`",
                ));
            }
            _ if path || witness => {
                return Err(D::Error::custom(
                    "`path` is for anchors of the kind `file`, `url` and `key` are for those of the kind `witness`",
                ));
            }
            (Kind::Stdout, ..) => AnchorTo::Stdout,
            (Kind::Syslog, ..) => AnchorTo::Syslog,
        };
        Ok(Self {
            to,
            every: table.every.map_or(EVERY, |every| every.0),
        })
    }
}

/// Nothing secret goes there, but an answer that was changed on the way would be taken for a fault.
fn submission<E: serde::de::Error>(text: &str) -> Result<String, E> {
    service(text).ok_or_else(|| {
        E::custom(
            "`url` is the submission prefix of a witness: write \"https://<host>/<path>\", without user, query or fragment (or `http` on loopback)",
        )
    })
}

fn witness_key<E: serde::de::Error>(text: &str) -> Result<VerifierKey, E> {
    match text.parse::<VerifierKey>() {
        Ok(key) if !key.is_log() => Ok(key),
        Ok(_) => Err(E::custom(
            "`key` is the key of a log: a witness signs with one of type 4 (C2SP tlog-cosignature)",
        )),
        Err(error) => Err(E::custom(error)),
    }
}

impl Anchor {
    /// Makes a relative path start from `folder`.
    pub(super) fn within(&mut self, folder: &Path) {
        if let AnchorTo::File(path) = &mut self.to {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::journal::note::Signer;

    fn read(text: &str) -> Result<Vec<Anchor>, String> {
        Config::parse(Path::new("/home/tollgate.toml"), text)
            .map(|config| config.anchors)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_has_what_it_needs_and_nothing_else() {
        let key = Signer::witness("witness.example/w1", &[4; 32])
            .verifier()
            .clone();
        let text = format!(
            r#"
[journal]
sync = "gated"
[[journal.anchor]]
kind = "file"
path = "elsewhere/checkpoints"
every = "1min"
[[journal.anchor]]
kind = "stdout"
[[journal.anchor]]
kind = "syslog"
[[journal.anchor]]
kind = "witness"
url = "https://witness.example/submit/"
key = "{key}"
"#
        );
        let anchors = read(&text).unwrap();
        let to: Vec<_> = anchors.iter().map(|anchor| anchor.to.clone()).collect();
        assert_eq!(
            to,
            [
                AnchorTo::File("/home/elsewhere/checkpoints".into()),
                AnchorTo::Stdout,
                AnchorTo::Syslog,
                AnchorTo::Witness {
                    url: "https://witness.example/submit".into(),
                    key: Box::new(key),
                },
            ]
        );
        assert_eq!(anchors[0].every, Duration::from_secs(60));
        assert_eq!(anchors[1].every, EVERY);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let log = Signer::from_bytes("h/tollgate/1", &[4; 32]).unwrap();
        let key = Signer::witness("w", &[4; 32]).verifier().to_string();
        let witness =
            |url: &str, key: &str| format!("kind = \"witness\"\nurl = \"{url}\"\nkey = \"{key}\"");
        for table in [
            String::new(),
            "kind = \"mail\"".into(),
            "kind = \"file\"".into(),
            "kind = \"file\"\npath = \"\"".into(),
            "kind = \"file\"\npath = \"x\"\nurl = \"https://a\"".into(),
            "kind = \"stdout\"\npath = \"x\"".into(),
            "kind = \"syslog\"\nkey = \"x\"".into(),
            "kind = \"stdout\"\nevery = \"1ms\"".into(),
            "kind = \"stdout\"\nevery = 5".into(),
            "kind = \"stdout\"\nevrey = \"1min\"".into(),
            "kind = \"witness\"".into(),
            witness("http://witness.example", &key),
            witness("https://a@witness.example", &key),
            witness("https://witness.example?x", &key),
            witness("witness.example", &key),
            witness("https://witness.example", "w+00000000+AA=="),
            witness("https://witness.example", &log.verifier().to_string()),
        ] {
            let text = format!("[[journal.anchor]]\n{table}");
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
