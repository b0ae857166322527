//! From what a plugin says of its prompts, resources, completion and questions to entries of its description.
//!
//! They are held to the rules of tools, since they are called like them: the same names, texts,
//! requirements and schemas. What their arguments are is the host's own doing, and closed.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::describe::{ToolSchemas, refuse, shown, text};
use super::description::{Hints, Offer, PromptArgument, QuestionKind, Tool};
use super::schema::Schema;
use super::template::{self, Template, URI};
use crate::name::{PluginName, ToolName, is_plain};
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::{prompts, questions, resources};

/// Prompts, and resources, of one plugin.
const MAX_OFFERS: usize = 128;
/// Arguments of one prompt.
const MAX_ARGUMENTS: usize = 32;
/// The name by which completion is called.
pub(crate) const COMPLETE: &str = "complete";

pub(super) type Entry = (Tool, ToolSchemas);

/// What is only read. What a prompt or a resource does beyond that, it does by its requirements.
const READS: Hints = Hints {
    read_only: true,
    destructive: false,
    idempotent: true,
    open_world: false,
};

/// What every entry begins as.
struct Start<'a> {
    plugin: &'a PluginName,
    requirements: &'a HashSet<String>,
}

impl Start<'_> {
    fn entry(
        &self,
        what: &str,
        said: (String, Option<String>, String, Vec<String>),
        input_schema: Value,
        offer: Offer,
    ) -> Result<Entry, Refusal> {
        let (name, title, description, uses) = said;
        let name = ToolName::new(self.plugin.clone(), &name)
            .map_err(|error| refuse(Reason::NameInvalid, error.to_string()))?;
        let of = |part: &str| format!("{part} of {what} `{}`", name.tool());
        text(&of("the description"), &description)?;
        if description.trim().is_empty() {
            return Err(refuse(
                Reason::ComponentDescribe,
                format!("{} is empty", of("the description")),
            ));
        }
        if let Some(title) = &title {
            text(&of("the title"), title)?;
        }
        if let Some(unknown) = uses.iter().find(|name| !self.requirements.contains(*name)) {
            return Err(refuse(
                Reason::ComponentLies,
                format!(
                    "{what} `{}` uses `{}`, which is not a requirement of the plugin",
                    name.tool(),
                    shown(unknown)
                ),
            ));
        }
        let input = Schema::compile(&input_schema, &of("the arguments"))?;
        let tool = Tool {
            name,
            title,
            description,
            input_schema,
            output_schema: None,
            hints: READS,
            uses,
            offer,
            asks: Vec::new(),
            lasts: None,
        };
        Ok((
            tool,
            ToolSchemas {
                input,
                output: None,
            },
        ))
    }
}

/// The schema of an object of these texts and no others.
fn texts(names: impl Iterator<Item = (String, bool)>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, needed) in names {
        if needed {
            required.push(Value::from(name.clone()));
        }
        properties.insert(name, json!({"type": "string"}));
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn few(count: usize, what: &str) -> Result<(), Refusal> {
    if count > MAX_OFFERS {
        return Err(refuse(
            Reason::ComponentDescribe,
            format!("{count} {what}, at most {MAX_OFFERS}"),
        ));
    }
    Ok(())
}

pub(super) fn prompts(
    plugin: &PluginName,
    said: Vec<prompts::Prompt>,
    requirements: &HashSet<String>,
) -> Result<Vec<Entry>, Refusal> {
    few(said.len(), "prompts")?;
    let start = Start {
        plugin,
        requirements,
    };
    said.into_iter().map(|said| prompt(&start, said)).collect()
}

fn prompt(start: &Start<'_>, said: prompts::Prompt) -> Result<Entry, Refusal> {
    let name = shown(&said.name);
    let wrong = |message: String| {
        refuse(
            Reason::ComponentDescribe,
            format!("prompt `{name}`: {message}"),
        )
    };
    if said.arguments.len() > MAX_ARGUMENTS {
        return Err(wrong(format!(
            "{} arguments, at most {MAX_ARGUMENTS}",
            said.arguments.len()
        )));
    }
    let mut names = HashSet::new();
    let mut arguments = Vec::new();
    for said in said.arguments {
        if !is_plain(&said.name) || !names.insert(said.name.clone()) {
            return Err(wrong(format!(
                "an argument can't be named `{}`, or is there twice",
                shown(&said.name)
            )));
        }
        for part in said.title.iter().chain(&said.description) {
            text(
                &format!("argument `{}` of prompt `{name}`", said.name),
                part,
            )?;
        }
        arguments.push(PromptArgument {
            name: said.name,
            title: said.title,
            description: said.description,
            required: said.required,
        });
    }
    let schema = texts(arguments.iter().map(|a| (a.name.clone(), a.required)));
    start.entry(
        "prompt",
        (said.name, said.title, said.description, said.uses),
        schema,
        Offer::Prompt { arguments },
    )
}

pub(super) fn resources(
    plugin: &PluginName,
    said: Vec<resources::Offer>,
    requirements: &HashSet<String>,
) -> Result<Vec<Entry>, Refusal> {
    few(said.len(), "resources")?;
    let start = Start {
        plugin,
        requirements,
    };
    let mut places = HashSet::new();
    said.into_iter()
        .map(|said| {
            let place = match &said.at {
                resources::Place::Uri(place) | resources::Place::Template(place) => place.clone(),
            };
            if !places.insert(place.clone()) {
                return Err(refuse(
                    Reason::NameCollision,
                    format!("two resources of the plugin are at `{}`", shown(&place)),
                ));
            }
            resource(&start, said)
        })
        .collect()
}

fn resource(start: &Start<'_>, said: resources::Offer) -> Result<Entry, Refusal> {
    let name = shown(&said.name);
    let wrong = |message: String| {
        refuse(
            Reason::ComponentDescribe,
            format!("resource `{name}`: {message}"),
        )
    };
    let mime_type = said.mime_type;
    if let Some(mime) = &mime_type
        && (mime.is_empty() || mime.len() > 255 || !mime.bytes().all(|b| (0x20..0x7f).contains(&b)))
    {
        return Err(wrong(format!("`{}` is no media type", shown(mime))));
    }
    let (variables, offer) = match said.at {
        resources::Place::Uri(uri) => {
            if !template::is_uri(&uri) {
                return Err(wrong(format!(
                    "`{}` is no absolute URI of visible ASCII, at most {} bytes",
                    shown(&uri),
                    template::MAX_URI
                )));
            }
            let offer = Offer::Resource {
                uri,
                mime_type,
                size: said.size,
            };
            (Vec::new(), offer)
        }
        resources::Place::Template(text) => {
            let template = Template::parse(&text)
                .map_err(|why| wrong(format!("the template `{}`: {why}", shown(&text))))?;
            let variables = template.variables().map(str::to_owned).collect();
            let offer = Offer::Template {
                template: text,
                mime_type,
            };
            (variables, offer)
        }
    };
    let names = [URI.to_owned()].into_iter().chain(variables);
    let schema = texts(names.map(|name| (name, true)));
    start.entry(
        "resource",
        (said.name, said.title, said.description, said.uses),
        schema,
        offer,
    )
}

/// Completion, as it is called. It is granted nothing.
pub(super) fn completion(plugin: &PluginName) -> Result<Entry, Refusal> {
    let nothing = HashSet::new();
    let start = Start {
        plugin,
        requirements: &nothing,
    };
    let text = json!({"type": "string"});
    let schema = json!({
        "type": "object",
        "properties": {
            "of": text,
            "argument": text,
            "value": text,
            "known": {"type": "object", "additionalProperties": text},
        },
        "required": ["of", "argument", "value", "known"],
        "additionalProperties": false,
    });
    let description = "Completes arguments of this plugin's prompts and resources.".to_owned();
    start.entry(
        "completion",
        (COMPLETE.to_owned(), None, description, Vec::new()),
        schema,
        Offer::Completion,
    )
}

/// Puts what the plugin says that it asks where it is asked.
pub(super) fn questions(
    entries: &mut [Entry],
    said: Vec<questions::Asking>,
) -> Result<(), Refusal> {
    for said in said {
        let of = shown(&said.of);
        text(&format!("the reason of the questions of `{of}`"), &said.why)?;
        let found = entries
            .iter_mut()
            .map(|(tool, _)| tool)
            .find(|tool| tool.name.tool() == said.of && tool.offer != Offer::Completion);
        let Some(tool) = found else {
            return Err(refuse(
                Reason::ComponentLies,
                format!("it says that `{of}` asks clients, and offers nothing of that name"),
            ));
        };
        let kinds = [
            (questions::Kinds::FORM, QuestionKind::Form),
            (questions::Kinds::URL, QuestionKind::Url),
            (questions::Kinds::SAMPLING, QuestionKind::Sampling),
            (questions::Kinds::ROOTS, QuestionKind::Roots),
        ];
        let kinds: Vec<_> = kinds
            .into_iter()
            .filter(|(flag, _)| said.kinds.contains(*flag))
            .map(|(_, kind)| kind)
            .collect();
        if kinds.is_empty() || !tool.asks.is_empty() {
            return Err(refuse(
                Reason::ComponentDescribe,
                format!("what `{of}` asks is said twice, or is nothing"),
            ));
        }
        tool.asks = kinds;
    }
    Ok(())
}
