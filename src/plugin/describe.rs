//! From what a plugin says of itself to a description that the rest of the host can rely on.
//!
//! Everything here is hostile until it has passed: names, texts, schemas, origins and paths are
//! checked, and what the description declares is held against what the component imports. A plugin
//! that breaks a rule is refused as a whole, with a message that names the rule and the place.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::description::{
    Description, Hints, HttpRequirement, Kind, Offer, OriginScope, Requirement, SecretRequirement,
    SettingRequirement, Tool,
};
use super::schema::Schema;
use super::text::hidden;
use super::{lasts, offers};
use crate::egress;
use crate::json;
use crate::name::{PluginName, ToolName, is_plain};
use crate::reason::{Reason, Refusal};
use crate::runtime::Said;
use crate::runtime::bindings::tools as wit;

/// Tools of one plugin; clients show lists of a few dozen.
const MAX_TOOLS: usize = 128;
/// Requirements of one plugin: more could not be reviewed.
const MAX_REQUIREMENTS: usize = 64;
/// Bytes of a text for the model or for people.
const MAX_TEXT: usize = 8 << 10;
/// The methods that there are.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A description, with the schemas that were compiled on the way.
pub(super) struct Described {
    pub(super) description: Description,
    pub(super) schemas: Vec<ToolSchemas>,
}

/// The schemas of a tool, in the order of the description's tools.
#[derive(Debug)]
pub(crate) struct ToolSchemas {
    pub(crate) input: Schema,
    pub(crate) output: Option<Schema>,
}

pub(super) fn refuse(reason: Reason, message: String) -> Refusal {
    Refusal::new(reason, message)
}

/// A name from the component, for people: it may hold anything.
pub(super) fn shown(text: &str) -> String {
    crate::name::shown(text, 80)
}

/// Checks what `plugin` says of itself against every rule, and against `capabilities`, which its
/// component imports; `completes` says whether it exports completion.
pub(super) fn check(
    plugin: &PluginName,
    said: Said,
    capabilities: &BTreeSet<String>,
    completes: bool,
) -> Result<Described, Refusal> {
    let Said {
        plugin: said,
        prompts,
        resources,
        questions,
        jobs,
    } = said;
    let describe = |message: String| refuse(Reason::ComponentDescribe, message);
    text("the version", &said.version)?;
    text("the summary", &said.summary)?;
    let offers_else = !prompts.is_empty() || !resources.is_empty();
    if (said.tools.is_empty() && !offers_else) || said.tools.len() > MAX_TOOLS {
        return Err(describe(format!(
            "{} tools; a plugin has 1 to {MAX_TOOLS}",
            said.tools.len()
        )));
    }
    if said.requirements.len() > MAX_REQUIREMENTS {
        return Err(describe(format!(
            "{} requirements, at most {MAX_REQUIREMENTS}",
            said.requirements.len()
        )));
    }

    let mut requirements = Vec::new();
    let mut names = HashSet::new();
    for said in said.requirements {
        let requirement = requirement(said)?;
        if !names.insert(requirement.name().to_owned()) {
            return Err(describe(format!(
                "two requirements are named `{}`",
                requirement.name()
            )));
        }
        requirements.push(requirement);
    }
    scopes_exist(&requirements)?;
    agree(&requirements, capabilities)?;

    let mut tools = Vec::new();
    for said in said.tools {
        tools.push(tool(plugin, said, &names)?);
    }
    tools.extend(offers::prompts(plugin, prompts, &names)?);
    tools.extend(offers::resources(plugin, resources, &names)?);
    if completes {
        tools.push(offers::completion(plugin)?);
    }
    offers::questions(&mut tools, questions)?;
    lasts::jobs(&mut tools, jobs)?;
    tools.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    if let Some((name, kinds)) = tools.windows(2).find_map(|pair| match pair {
        [(a, _), (b, _)] if a.name == b.name => Some((&a.name, [a.kind(), b.kind()])),
        _ => None,
    }) {
        let what = match kinds {
            [Kind::Tool, Kind::Tool] => "tools",
            _ => "tools, prompts or resources",
        };
        return Err(refuse(
            Reason::NameCollision,
            format!("the plugin has two {what} named `{}`", name.tool()),
        ));
    }
    let (tools, schemas) = tools.into_iter().unzip();
    Ok(Described {
        description: Description {
            plugin: plugin.clone(),
            version: said.version,
            summary: said.summary,
            tools,
            requirements,
        },
        schemas,
    })
}

pub(super) fn text(what: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_TEXT {
        return Err(refuse(
            Reason::ComponentText,
            format!("{what} has {} bytes, at most {MAX_TEXT}", text.len()),
        ));
    }
    match hidden(text) {
        None => Ok(()),
        Some(found) => Err(refuse(
            Reason::ComponentText,
            format!("{what} holds {} (U+{:04X})", found.what, found.code_point),
        )),
    }
}

/// Every text in a schema that a model reads: titles, descriptions, names of properties, values of enums.
fn texts_of_schema(what: &str, schema: &Value) -> Result<(), Refusal> {
    match schema {
        Value::String(value) => text(what, value),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| texts_of_schema(what, item)),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            text(what, key)?;
            texts_of_schema(what, member)
        }),
        _ => Ok(()),
    }
}

fn plain_name(what: &str, name: &str) -> Result<(), Refusal> {
    if is_plain(name) {
        return Ok(());
    }
    let name = shown(name);
    Err(refuse(
        Reason::NameInvalid,
        format!("{what} can't be named `{name}`: use letters, digits, `_` and `-`"),
    ))
}

fn schema(what: &str, said: &str) -> Result<(Value, Schema), Refusal> {
    let value = json::parse(said.as_bytes(), &json::Limits::default())
        .map_err(|fault| refuse(Reason::ComponentSchema, format!("{what}: {fault}")))?;
    texts_of_schema(what, &value)?;
    let compiled = Schema::compile(&value, what)?;
    Ok((value, compiled))
}

fn tool(
    plugin: &PluginName,
    said: wit::Tool,
    requirements: &HashSet<String>,
) -> Result<(Tool, ToolSchemas), Refusal> {
    let name = ToolName::new(plugin.clone(), &said.name)
        .map_err(|error| refuse(Reason::NameInvalid, error.to_string()))?;
    let of = |what: &str| format!("{what} of tool `{}`", name.tool());
    text(&of("the description"), &said.description)?;
    if said.description.trim().is_empty() {
        return Err(refuse(
            Reason::ComponentDescribe,
            format!(
                "{} is empty; a model can't choose a tool it knows nothing of",
                of("the description")
            ),
        ));
    }
    if let Some(title) = &said.title {
        text(&of("the title"), title)?;
    }
    let (input_schema, input) = {
        let what = of("the input schema");
        let (mut value, _) = schema(&what, &said.input_schema)?;
        close(&what, &mut value)?;
        let compiled = Schema::compile(&value, &what)?;
        (value, compiled)
    };
    let (output_schema, output) = match &said.output_schema {
        None => (None, None),
        Some(said) => {
            let (value, compiled) = schema(&of("the output schema"), said)?;
            (Some(value), Some(compiled))
        }
    };
    if let Some(unknown) = said.uses.iter().find(|name| !requirements.contains(*name)) {
        return Err(refuse(
            Reason::ComponentLies,
            format!(
                "tool `{}` uses `{}`, which is not a requirement of the plugin",
                name.tool(),
                shown(unknown)
            ),
        ));
    }
    let has = |hint| said.hints.contains(hint);
    let tool = Tool {
        hints: Hints {
            read_only: has(wit::Hints::READ_ONLY),
            destructive: has(wit::Hints::DESTRUCTIVE),
            idempotent: has(wit::Hints::IDEMPOTENT),
            open_world: has(wit::Hints::OPEN_WORLD),
        },
        name,
        title: said.title,
        description: said.description,
        input_schema,
        output_schema,
        uses: said.uses,
        offer: Offer::Tool,
        asks: Vec::new(),
        lasts: None,
    };
    Ok((tool, ToolSchemas { input, output }))
}

/// Arguments are an object, and one that its schema closes: a property that nobody declared reaches
/// neither policy nor plugin.
fn close(what: &str, schema: &mut Value) -> Result<(), Refusal> {
    let Some(members) = schema.as_object_mut() else {
        return Err(refuse(
            Reason::ComponentSchema,
            format!("{what} is not an object"),
        ));
    };
    if members.get("type").and_then(Value::as_str) != Some("object") {
        return Err(refuse(
            Reason::ComponentSchema,
            format!("{what} does not say `\"type\": \"object\"`"),
        ));
    }
    let closes = |value: Option<&Value>| value == Some(&Value::Bool(false));
    if closes(members.get("additionalProperties")) || closes(members.get("unevaluatedProperties")) {
        return Ok(());
    }
    if members
        .get("additionalProperties")
        .is_some_and(|value| *value != Value::Bool(true))
    {
        return Err(refuse(
            Reason::ComponentSchema,
            format!("{what} takes properties of any name; policy could not speak of them"),
        ));
    }
    // `unevaluatedProperties` sees what `allOf`, `$ref` and the like allow; the other does not.
    members.remove("additionalProperties");
    members.insert("unevaluatedProperties".into(), Value::Bool(false));
    Ok(())
}

fn origin(said: wit::OriginScope, of: &str) -> Result<OriginScope, Refusal> {
    match said {
        wit::OriginScope::Literal(said) => {
            let origin = egress::Origin::parse(&said).map_err(|refusal| {
                let shown = crate::name::shown(&said, 120);
                refuse(
                    Reason::ComponentDescribe,
                    format!(
                        "{of}: `{shown}` is not an origin in canonical form: {}",
                        refusal.message
                    ),
                )
            })?;
            Ok(OriginScope::Literal(origin.to_string()))
        }
        wit::OriginScope::Setting(name) => {
            plain_name(&format!("the setting of {of}"), &name)?;
            Ok(OriginScope::Setting(name))
        }
        wit::OriginScope::AnyPublic => Ok(OriginScope::AnyPublic),
    }
}

fn requirement(said: wit::Requirement) -> Result<Requirement, Refusal> {
    Ok(match said {
        wit::Requirement::Http(said) => {
            plain_name("an http requirement", &said.name)?;
            let of = format!("requirement `{}`", said.name);
            text(&format!("the reason of {of}"), &said.why)?;
            let describe =
                |message: String| refuse(Reason::ComponentDescribe, format!("{of}: {message}"));
            if said.methods.is_empty() {
                return Err(describe("no method".into()));
            }
            if let Some(method) = said.methods.iter().find(|m| !METHODS.contains(&m.as_str())) {
                let shown = crate::name::shown(method, 40);
                return Err(describe(format!(
                    "`{shown}` is not one of {}",
                    METHODS.join(", ")
                )));
            }
            if said.paths.is_empty() {
                return Err(describe("no path; `/` covers all".into()));
            }
            for path in &said.paths {
                text(&format!("a path of {of}"), path)?;
                if !path.starts_with('/') {
                    return Err(describe(format!(
                        "the path `{path}` does not start with `/`"
                    )));
                }
            }
            Requirement::Http(HttpRequirement {
                origin: origin(said.origin, &of)?,
                name: said.name,
                methods: said.methods,
                paths: said.paths,
                why: said.why,
            })
        }
        wit::Requirement::Secret(said) => {
            plain_name("a secret", &said.name)?;
            let of = format!("secret `{}`", said.name);
            text(&format!("the reason of {of}"), &said.why)?;
            let origin = origin(said.origin, &of)?;
            if origin == OriginScope::AnyPublic {
                return Err(refuse(
                    Reason::ComponentDescribe,
                    format!("{of} would go to any origin: bind it to one"),
                ));
            }
            Requirement::Secret(SecretRequirement {
                name: said.name,
                reveal: said.use_ == wit::SecretUse::Reveal,
                origin,
                why: said.why,
            })
        }
        wit::Requirement::Setting(said) => {
            plain_name("a setting", &said.name)?;
            text(
                &format!("the description of setting `{}`", said.name),
                &said.description,
            )?;
            if let Some(default) = &said.default {
                text(&format!("the default of setting `{}`", said.name), default)?;
            }
            Requirement::Setting(SettingRequirement {
                name: said.name,
                description: said.description,
                default: said.default,
            })
        }
        wit::Requirement::Clock(said) => {
            text("the reason of `clock`", &said.why)?;
            Requirement::Clock { why: said.why }
        }
        wit::Requirement::Random(said) => {
            text("the reason of `random`", &said.why)?;
            Requirement::Random { why: said.why }
        }
    })
}

fn scopes_exist(requirements: &[Requirement]) -> Result<(), Refusal> {
    let is_setting = |wanted: &str| {
        requirements
            .iter()
            .any(|r| matches!(r, Requirement::Setting(s) if s.name == wanted))
    };
    for requirement in requirements {
        let scope = match requirement {
            Requirement::Http(http) => &http.origin,
            Requirement::Secret(secret) => &secret.origin,
            _ => continue,
        };
        if let OriginScope::Setting(name) = scope
            && !is_setting(name)
        {
            return Err(refuse(
                Reason::ComponentDescribe,
                format!(
                    "requirement `{}` takes its origin from the setting `{name}`, which is not declared",
                    requirement.name()
                ),
            ));
        }
    }
    Ok(())
}

/// Holds what is declared against what is imported, both ways.
fn agree(requirements: &[Requirement], imported: &BTreeSet<String>) -> Result<(), Refusal> {
    let kind = |requirement: &Requirement| match requirement {
        Requirement::Http(_) => "http",
        Requirement::Secret(_) => "secrets",
        Requirement::Setting(_) => "settings",
        Requirement::Clock { .. } => "clock",
        Requirement::Random { .. } => "random",
    };
    let declared: BTreeSet<&str> = requirements.iter().map(kind).collect();
    for capability in ["http", "secrets", "settings", "clock", "random"] {
        match (imported.contains(capability), declared.contains(capability)) {
            (true, false) => {
                return Err(refuse(
                    Reason::ComponentLies,
                    format!(
                        "the component imports `{capability}`, and its description has no requirement for it"
                    ),
                ));
            }
            // A setting may serve only as the origin of another requirement, which the host reads.
            (false, true) if capability != "settings" => {
                return Err(refuse(
                    Reason::ComponentLies,
                    format!(
                        "the description requires `{capability}`, and the component does not import it"
                    ),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
