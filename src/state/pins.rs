//! Pins: which component, description and settings were accepted for each plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{State, StateError, from_millis, millis};
use crate::digest::Digest;
use crate::json;
use crate::name::PluginName;

/// What pins of this version have more than the first ones: what a person is shown of a change.
pub(super) const FACTS: &str = "
    ALTER TABLE pins ADD COLUMN facts TEXT;
    ALTER TABLE pins ADD COLUMN facts_digest BLOB CHECK (facts_digest IS NULL OR length(facts_digest) = 32);
";

/// What was accepted of a plugin. Anything else is quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The plugin.
    pub plugin: PluginName,
    /// Digest of its file.
    pub component: Digest,
    /// The canonical JSON of its description, so that a change can be shown.
    pub description: String,
    /// Digest of its settings' values.
    pub settings: Digest,
    /// When, since 1970-01-01T00:00:00Z.
    pub accepted: Duration,
    /// By whom.
    pub accepted_by: AcceptedBy,
    /// What a later version is shown against. A pin of a host that kept none has none.
    pub facts: Option<Facts>,
}

/// What was found of a plugin beside its description when it was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The capabilities that the component imports.
    pub imports: BTreeSet<String>,
    /// The operator's settings, by name.
    pub settings: BTreeMap<String, String>,
    /// The signature that it came with, where it was verified.
    pub signed: Option<Signed>,
}

/// A signature that was verified: whose, and of which version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The key's name.
    pub key: String,
    /// The version that the statement gives the component; it only ever grows.
    pub version: u64,
}

impl Facts {
    /// The canonical text, as it is kept.
    fn text(&self) -> String {
        serde_json::to_value(self).map_or_else(|_| String::new(), |value| json::canonical(&value))
    }
}

impl Pin {
    /// Digest of the description.
    #[must_use]
    pub fn description_digest(&self) -> Digest {
        Digest::of(self.description.as_bytes())
    }
}

/// Who accepted a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptedBy {
    /// Nobody: it was the first of its name, and policy alone decides what it may do.
    FirstSeen,
    /// The operator, by `tollgate plugins accept`.
    Operator,
}

impl AcceptedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::FirstSeen => "first-seen",
            Self::Operator => "operator",
        }
    }
}

const COLUMNS: &str = "plugin, component, description, settings, accepted, accepted_by, description_digest, facts, facts_digest";

/// A row, not yet judged.
struct PinRow {
    plugin: String,
    component: [u8; 32],
    description: String,
    settings: [u8; 32],
    accepted: i64,
    accepted_by: String,
    description_digest: [u8; 32],
    facts: Option<String>,
    facts_digest: Option<[u8; 32]>,
}

fn row(row: &Row<'_>) -> rusqlite::Result<PinRow> {
    Ok(PinRow {
        plugin: row.get(0)?,
        component: row.get(1)?,
        description: row.get(2)?,
        settings: row.get(3)?,
        accepted: row.get(4)?,
        accepted_by: row.get(5)?,
        description_digest: row.get(6)?,
        facts: row.get(7)?,
        facts_digest: row.get(8)?,
    })
}

impl State {
    /// The pin of `plugin`, if it has one.
    ///
    /// # Errors
    ///
    /// The database failed, or the pin in it is damaged.
    pub fn pin(&self, plugin: &PluginName) -> Result<Option<Pin>, StateError> {
        self.lock()
            .query_row(
                &format!("SELECT {COLUMNS} FROM pins WHERE plugin = ?1"),
                [plugin.as_str()],
                row,
            )
            .optional()
            .map_err(self.error())?
            .map(|row| self.judge(row))
            .transpose()
    }

    /// Every pin, by name of the plugin.
    ///
    /// # Errors
    ///
    /// The database failed, or a pin in it is damaged.
    pub fn pins(&self) -> Result<Vec<Pin>, StateError> {
        let connection = self.lock();
        let read = || {
            connection
                .prepare(&format!("SELECT {COLUMNS} FROM pins ORDER BY plugin"))?
                .query_map([], row)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read()
            .map_err(self.error())?
            .into_iter()
            .map(|row| self.judge(row))
            .collect()
    }

    /// Pins a plugin that has no pin yet; says whether it had none.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn pin_first(&self, pin: &Pin) -> Result<bool, StateError> {
        self.write_pin(pin, "DO NOTHING").map(|rows| rows > 0)
    }

    /// Pins a plugin, in the place of what was accepted before.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn set_pin(&self, pin: &Pin) -> Result<(), StateError> {
        self.write_pin(
            pin,
            "DO UPDATE SET component = excluded.component, description = excluded.description,
                description_digest = excluded.description_digest, settings = excluded.settings,
                accepted = excluded.accepted, accepted_by = excluded.accepted_by,
                facts = excluded.facts, facts_digest = excluded.facts_digest",
        )
        .map(drop)
    }

    /// Forgets the pin of `plugin`: the next file of that name is a new plugin.
    ///
    /// # Errors
    ///
    /// There is none, or the database failed.
    pub fn remove_pin(&self, plugin: &PluginName) -> Result<(), StateError> {
        let found = self
            .lock()
            .execute("DELETE FROM pins WHERE plugin = ?1", [plugin.as_str()])
            .map_err(self.error())?;
        if found == 0 {
            return Err(StateError::NoPin(plugin.clone()));
        }
        self.changed();
        Ok(())
    }

    fn write_pin(&self, pin: &Pin, conflict: &str) -> Result<usize, StateError> {
        let facts = pin.facts.as_ref().map(Facts::text);
        let facts_digest = facts.as_ref().map(|text| Digest::of(text.as_bytes()));
        let rows = self
            .lock()
            .execute(
                &format!(
                    "INSERT INTO pins ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT (plugin) {conflict}"
                ),
                params![
                    pin.plugin.as_str(),
                    pin.component.as_bytes(),
                    pin.description,
                    pin.settings.as_bytes(),
                    millis(pin.accepted),
                    pin.accepted_by.as_str(),
                    pin.description_digest().as_bytes(),
                    facts,
                    facts_digest.as_ref().map(Digest::as_bytes),
                ],
            )
            .map_err(self.error())?;
        if rows > 0 {
            self.changed();
        }
        Ok(rows)
    }

    fn judge(&self, row: PinRow) -> Result<Pin, StateError> {
        let damaged = |what: String| StateError::Damaged {
            path: self.0.path.clone(),
            what,
        };
        let plugin: PluginName = row
            .plugin
            .parse()
            .map_err(|e: crate::name::ParseNameError| damaged(e.to_string()))?;
        let facts = match (row.facts, row.facts_digest) {
            (None, None) => None,
            (Some(text), Some(digest)) if Digest::of(text.as_bytes()).as_bytes() == &digest => {
                let facts = serde_json::from_str(&text)
                    .map_err(|error| damaged(format!("the facts of {plugin:?}: {error}")))?;
                Some(facts)
            }
            _ => {
                return Err(damaged(format!(
                    "the facts of {plugin:?} do not have their digest"
                )));
            }
        };
        let pin = Pin {
            facts,
            accepted_by: match row.accepted_by.as_str() {
                "operator" => AcceptedBy::Operator,
                "first-seen" => AcceptedBy::FirstSeen,
                other => return Err(damaged(format!("pin of {plugin:?}: accepted by `{other}`"))),
            },
            component: Digest::from_bytes(row.component),
            description: row.description,
            settings: Digest::from_bytes(row.settings),
            accepted: from_millis(row.accepted),
            plugin,
        };
        // A description whose text was edited in the database is not the one that was accepted.
        if pin.description_digest().as_bytes() != &row.description_digest {
            return Err(damaged(format!(
                "the description of {:?} does not have its digest",
                pin.plugin
            )));
        }
        Ok(pin)
    }
}
