//! A component, ready to run: checked against what the host offers, linked once.

use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Linker};

use super::bindings::PluginExportsPre;
use super::linker::{CONTRACT, FLOOR};
use super::state::CallState;
use crate::digest::Digest;
use crate::reason::{Reason, Refusal};

/// What plugins export.
const TOOLS: &str = "tollgate:plugin/tools@0.1.0";

/// A plugin's code, linked, from which each call gets a fresh instance.
pub(crate) struct Code {
    pub(super) pre: PluginExportsPre<CallState>,
    /// The export that each call enters by. Looking up and checking every export of an instance, the
    /// large types of `describe` among them, would cost a call more than lowering its arguments.
    pub(super) call: ComponentExportIndex,
    /// Digest of the component that it was compiled from.
    pub(super) digest: Digest,
    capabilities: BTreeSet<String>,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl Code {
    /// Checks the imports of `component` and links it.
    ///
    /// # Errors
    ///
    /// `component.import_not_allowed` names each import that the host does not offer;
    /// `component.invalid` where an export of the contract is missing or of another type.
    pub(super) fn link(
        engine: &Engine,
        linker: &Linker<CallState>,
        component: &Component,
        digest: Digest,
    ) -> Result<Self, Refusal> {
        let capabilities = check_imports(engine, component)?;
        let unfit = |why: String| {
            Refusal::new(
                Reason::ComponentInvalid,
                "the component does not fit the contract `tollgate:plugin@0.1.0`",
            )
            .with_detail(why)
        };
        let pre = linker
            .instantiate_pre(component)
            .and_then(PluginExportsPre::new)
            .map_err(|error| unfit(format!("{error:#}")))?;
        let call = component
            .get_export_index(None, TOOLS)
            .and_then(|tools| component.get_export_index(Some(&tools), "call"))
            .ok_or_else(|| unfit(format!("`{TOOLS}` exports no `call`")))?;
        Ok(Self {
            pre,
            call,
            digest,
            capabilities,
        })
    }

    /// The capabilities whose functions it imports: `http`, `secrets`, `settings`, `clock`, ...
    pub(crate) const fn capabilities(&self) -> &BTreeSet<String> {
        &self.capabilities
    }
}

fn check_imports(engine: &Engine, component: &Component) -> Result<BTreeSet<String>, Refusal> {
    let mut capabilities = BTreeSet::new();
    let mut foreign = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        let interface = name.split('@').next().unwrap_or(name);
        if let Some(capability) = interface
            .strip_prefix("tollgate:plugin/")
            .filter(|_| CONTRACT.contains(&interface))
        {
            // An interface that is imported for its types alone reaches nothing.
            let ComponentItem::ComponentInstance(instance) = item.ty else {
                foreign.push(shown(name));
                continue;
            };
            let calls = instance
                .exports(engine)
                .any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
            if calls {
                capabilities.insert(capability.to_owned());
            }
        } else if !FLOOR.contains(&interface) {
            foreign.push(shown(name));
        }
    }
    if foreign.is_empty() {
        return Ok(capabilities);
    }
    Err(Refusal::new(
        Reason::ImportNotAllowed,
        format!(
            "the component imports what the host does not offer: {}",
            foreign.join(", ")
        ),
    ))
}

/// A name from the component, for people: it may hold anything.
fn shown(name: &str) -> String {
    let text: String = name
        .chars()
        .take(120)
        .flat_map(char::escape_default)
        .collect();
    format!("`{text}`")
}
