//! A component, ready to run: checked against what the host offers, linked once.

use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use super::linker::{CONTRACT, FLOOR};
use super::state::CallState;
use crate::digest::Digest;
use crate::reason::{Reason, Refusal};

/// What every plugin exports.
const TOOLS: &str = "tollgate:plugin/tools@0.1.0";
/// What a plugin may export beside it.
const PROMPTS: &str = "tollgate:plugin/prompts@0.1.0";
const RESOURCES: &str = "tollgate:plugin/resources@0.1.0";
const COMPLETION: &str = "tollgate:plugin/completion@0.1.0";
const QUESTIONS: &str = "tollgate:plugin/questions@0.1.0";
const JOBS: &str = "tollgate:plugin/jobs@0.1.0";

/// The exports of a plugin. Looking one up and checking its type, the large types of `describe` among
/// them, would cost a call more than lowering its arguments; so each call looks at its own alone.
pub(super) struct Exports {
    pub(super) describe: ComponentExportIndex,
    pub(super) call: ComponentExportIndex,
    pub(super) prompts: Option<Pair>,
    pub(super) resources: Option<Pair>,
    pub(super) complete: Option<ComponentExportIndex>,
    pub(super) questions: Option<ComponentExportIndex>,
    pub(super) jobs: Option<ComponentExportIndex>,
}

/// What an interface says of itself, and what carries out its calls.
pub(super) struct Pair {
    pub(super) describe: ComponentExportIndex,
    pub(super) call: ComponentExportIndex,
}

impl Exports {
    fn of(component: &Component) -> Result<Self, String> {
        let function = |interface: &str, name: &str| {
            component
                .get_export_index(None, interface)
                .and_then(|instance| component.get_export_index(Some(&instance), name))
                .ok_or_else(|| format!("`{interface}` exports no `{name}`"))
        };
        let exports = |interface: &str| component.get_export_index(None, interface).is_some();
        let pair = |interface: &str, call: &str| -> Result<Option<Pair>, String> {
            if !exports(interface) {
                return Ok(None);
            }
            Ok(Some(Pair {
                describe: function(interface, "describe")?,
                call: function(interface, call)?,
            }))
        };
        let optional = |interface: &str, name: &str| {
            exports(interface)
                .then(|| function(interface, name))
                .transpose()
        };
        Ok(Self {
            describe: function(TOOLS, "describe")?,
            call: function(TOOLS, "call")?,
            prompts: pair(PROMPTS, "get")?,
            resources: pair(RESOURCES, "read")?,
            complete: optional(COMPLETION, "complete")?,
            questions: optional(QUESTIONS, "describe")?,
            jobs: optional(JOBS, "describe")?,
        })
    }
}

/// A plugin's code, linked, from which each call gets a fresh instance.
pub(crate) struct Code {
    pub(super) pre: InstancePre<CallState>,
    /// Where calls enter.
    pub(super) exports: Exports,
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
            .map_err(|error| unfit(format!("{error:#}")))?;
        let exports = Exports::of(component).map_err(unfit)?;
        Ok(Self {
            pre,
            exports,
            digest,
            capabilities,
        })
    }

    /// The capabilities whose functions it imports: `http`, `secrets`, `settings`, `clock`, ...
    pub(crate) const fn capabilities(&self) -> &BTreeSet<String> {
        &self.capabilities
    }

    /// Whether it completes arguments of its prompts and resources.
    pub(crate) const fn completes(&self) -> bool {
        self.exports.complete.is_some()
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
    format!("`{}`", crate::name::shown(name, 120))
}
