//! Whether a plugin that was loaded may serve: its signature, its name, its pin.
//!
//! A component is signed or refused before it is compiled. What was loaded serves if it is exactly
//! what was accepted, or the first of its name; anything else waits for the operator, with the one
//! reason that matters most.

use super::catalogue::Catalogue;
use super::confusable::{confusable, looks};
use super::diff::{Diff, Side};
use super::load::Plugin;
use super::version::older;
use crate::config::Config;
use crate::digest::Digest;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::state::{AcceptedBy, Facts, Pin};

/// What is to be done with a plugin that was loaded.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is the first of its name: it is pinned and serves.
    First,
    /// It is what was accepted.
    Accepted {
        /// Whether its pin lacks what is kept of it today: it is of an earlier host, or the component
        /// came without a signature then, or as an older version.
        renew: bool,
    },
    /// It waits until the operator accepts it.
    Waits(Refusal, Digest),
}

/// The pin that `plugin` would have, were it accepted now.
pub(super) fn pin_of(
    config: &Config,
    plugin: &Plugin,
    now: std::time::Duration,
    by: AcceptedBy,
) -> Pin {
    let settings = config.settings(&plugin.name);
    Pin {
        plugin: plugin.name.clone(),
        component: plugin.digest,
        description: plugin.described(),
        settings: config.settings_digest(&plugin.name),
        accepted: now,
        accepted_by: by,
        facts: Some(Facts {
            imports: plugin.code.capabilities().clone(),
            settings: settings
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            signed: plugin.signed.clone(),
        }),
    }
}

/// Judges `plugin`, whose pin would be `pin`, by the one that is known of its name. `accepted` are
/// the names of the other plugins that were accepted and are there.
pub(super) fn judge(
    known: Option<&Pin>,
    pin: &Pin,
    plugin: &Plugin,
    catalogue: &Catalogue,
    accepted: &[PluginName],
) -> Admission {
    let waits = |refusal| Admission::Waits(refusal, Diff::between(known, pin).digest());
    let Some(known) = known else {
        return match taken_for(plugin, catalogue, accepted) {
            Some(refusal) => waits(refusal),
            None => Admission::First,
        };
    };
    if known.component == pin.component
        && known.description == pin.description
        && known.settings == pin.settings
    {
        let version = |pin: &Pin| {
            let signed = |facts: &Facts| facts.signed.as_ref().map(|signed| signed.version);
            pin.facts.as_ref().map(signed)
        };
        // The version only grows: a signature that is gone takes nothing back.
        return Admission::Accepted {
            renew: version(known) < version(pin),
        };
    }
    let name = &plugin.name;
    if known.component != pin.component
        && let Some((accepted, found)) = older(&Side::of(known), &Side::of(pin))
    {
        let message = format!(
            "its version `{}` is older than the accepted `{}`; to go back, run `tollgate plugins accept {name} --component {}`",
            found.escape_default(),
            accepted.escape_default(),
            pin.component
        );
        return waits(
            Refusal::new(Reason::PinRollback, message).with_detail(format!(
                "accepted {}, found {}",
                known.component, pin.component
            )),
        );
    }
    waits(
        Refusal::new(
            Reason::PinDigestMismatch,
            format!(
                "{} changed since it was accepted; `tollgate plugins diff {name}` shows how, `tollgate plugins accept {name}` takes it",
                changed(known, pin),
            ),
        )
        .with_detail(format!("accepted {}, found {}", known.component, pin.component)),
    )
}

fn changed(known: &Pin, found: &Pin) -> String {
    let mut parts = Vec::new();
    if known.component != found.component {
        parts.push("code");
    }
    if known.description != found.description {
        parts.push("description");
    }
    if known.settings != found.settings {
        parts.push("settings");
    }
    format!("its {}", parts.join(" and "))
}

/// Whether the name of a plugin that nobody accepted yet, or one that an agent would see, can be
/// taken for an accepted one.
fn taken_for(plugin: &Plugin, catalogue: &Catalogue, accepted: &[PluginName]) -> Option<Refusal> {
    let name = &plugin.name;
    let wait = |what: String| {
        Refusal::new(
            Reason::NameConfusable,
            format!(
                "{what}; if both are meant, `tollgate plugins accept {name}` takes it, else rename its file"
            ),
        )
    };
    if let Some(known) = accepted
        .iter()
        .find(|known| *known != name && confusable(name.as_str(), known.as_str()))
    {
        return Some(wait(format!(
            "its name can be taken for that of `{known}`, which was accepted"
        )));
    }
    let mut named = plugin.listed().filter(|(_, listed)| listed.is_named());
    named.find_map(|(tool, listed)| {
        let look = looks(&listed.name);
        let (other, taken) = catalogue
            .wire
            .iter()
            .find(|(other, of)| of.plugin() != name && looks(other) == look)?;
        Some(wait(format!(
            "agents would see its tool `{tool}` as `{}`, which can be taken for `{other}` of `{taken}`",
            listed.name
        )))
    })
}
