//! `tollgate plugins inspect`: what a plugin offers and needs, before anyone lets it run.

use std::path::Path;

use serde_json::{Value, json};

use super::fault::Fault;
use super::offline::Loader;
use super::printer::{Printer, STRONG, escape_lines};
use crate::config::Config;
use crate::home::Home;
use crate::journal::escape;
use crate::name::PluginName;
use crate::plugin::{Description, Lasts, Offer, OriginScope, Plugin, Requirement, Tool};

pub(crate) async fn run(what: &str, home: &Home, printer: &mut Printer) -> Result<(), Fault> {
    let config =
        Config::load(home).map_err(|error| Fault::of(&error).exit(super::exit::Exit::Invalid))?;
    let (name, path) = find(what, home)?;
    let loader = Loader::new(home)?;
    let plugin = loader
        .load(&config, &name, &path)
        .await
        .map_err(|refusal| {
            let detail = refusal
                .detail
                .map(|detail| format!(": {detail}"))
                .unwrap_or_default();
            Fault::invalid(format!(
                "`{}` can't serve: {}: {}{detail}",
                path.display(),
                refusal.reason,
                refusal.message
            ))
        })?;
    if printer.is_json() {
        return printer.object("plugin", &data(&plugin));
    }
    for line in lines(&plugin, printer) {
        printer.line(&line)?;
    }
    printer.hint(&format!(
        "`tollgate policy init {}` prints a least-privilege policy for it",
        plugin.name
    ));
    Ok(())
}

/// A path is one that ends in `.wasm` or has a slash; anything else names a plugin of the home.
fn find(what: &str, home: &Home) -> Result<(PluginName, std::path::PathBuf), Fault> {
    let path = Path::new(what);
    let is_path = what.contains('/') || path.extension().is_some_and(|e| e == "wasm");
    if !is_path {
        let name: PluginName = what.parse().map_err(|error: crate::name::ParseNameError| {
            Fault::invalid(error.to_string())
                .hint("give the path of a `.wasm` file, or the name of a plugin in `plugins/`")
        })?;
        let path = home.plugins().join(format!("{name}.wasm"));
        if !path.exists() {
            return Err(Fault::invalid(format!(
                "there is no plugin `{name}`: no `{}`",
                path.display()
            ))
            .hint("`tollgate plugins` lists those that there are"));
        }
        return Ok((name, path));
    }
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    // What the build leaves is often named otherwise than what is dropped into `plugins/`.
    let name = stem
        .replace('_', "-")
        .parse()
        .or_else(|_| stem.parse())
        .map_err(|error: crate::name::ParseNameError| {
            Fault::invalid(format!("`{}` names no plugin: {error}", path.display()))
                .hint("a plugin is named by its file: rename it")
        })?;
    Ok((name, path.to_owned()))
}

/// All of it, for programs.
pub(crate) fn data(plugin: &Plugin) -> Value {
    json!({
        "digest": plugin.digest,
        "imports": plugin.code.capabilities(),
        "description": plugin.description,
    })
}

fn lines(plugin: &Plugin, printer: &Printer) -> Vec<String> {
    let strong = |text: &str| printer.paint(STRONG, text);
    let Description {
        plugin: name,
        version,
        summary,
        tools,
        requirements,
    } = &plugin.description;
    let mut lines = vec![
        format!("{} {}", strong(name.as_str()), escape(version)),
        indented(summary, 2),
        String::new(),
        format!("  digest   {}", plugin.digest),
    ];
    let imports: Vec<&str> = plugin
        .code
        .capabilities()
        .iter()
        .map(String::as_str)
        .collect();
    let imports = if imports.is_empty() {
        "none".to_owned()
    } else {
        imports.join(", ")
    };
    lines.push(format!("  imports  {imports}"));
    lines.push(String::new());
    lines.push(strong("tools"));
    for tool in tools {
        lines.extend(tool_lines(tool, printer));
    }
    lines.push(String::new());
    lines.push(strong("requirements"));
    if requirements.is_empty() {
        lines.push(String::from("  none: it computes, and reaches nothing"));
    }
    for requirement in requirements {
        lines.extend(requirement_lines(requirement));
    }
    lines
}

fn tool_lines(tool: &Tool, printer: &Printer) -> Vec<String> {
    let title = tool
        .title
        .as_ref()
        .map(|title| format!("  {}", escape(title)))
        .unwrap_or_default();
    let mut lines = vec![
        format!("  {}{title}", printer.paint(STRONG, &tool.name.to_string())),
        indented(&tool.description, 4),
    ];
    let mut hints = Vec::new();
    hints.push(if tool.hints.read_only {
        "read-only"
    } else {
        "writes"
    });
    if tool.hints.destructive {
        hints.push("destructive");
    }
    if tool.hints.idempotent {
        hints.push("idempotent");
    }
    if tool.hints.open_world {
        hints.push("reaches out");
    }
    match &tool.offer {
        Offer::Tool => lines.push(format!("    says that it is: {}", hints.join(", "))),
        Offer::Prompt { .. } => lines.push(String::from("    a prompt")),
        Offer::Resource { uri, .. } => lines.push(format!("    a resource, at {}", escape(uri))),
        Offer::Template { template, .. } => {
            lines.push(format!("    resources, at {}", escape(template)));
        }
        Offer::Completion => lines.push(String::from("    completion of arguments")),
    }
    if !tool.asks.is_empty() {
        let asks: Vec<_> = tool.asks.iter().map(|kind| kind.as_str()).collect();
        lines.push(format!("    asks clients: {}", asks.join(", ")));
    }
    if let Some(lasts) = tool.lasts {
        lines.push(format!("    {}", job_line(lasts)));
    }
    let uses: Vec<String> = tool.uses.iter().map(|name| escape(name)).collect();
    let uses = if uses.is_empty() {
        "nothing".to_owned()
    } else {
        uses.join(", ")
    };
    lines.push(format!("    uses: {uses}"));
    lines.push(String::from("    arguments:"));
    lines.push(indented(&pretty(&tool.input_schema), 6));
    if let Some(schema) = &tool.output_schema {
        lines.push(String::from("    structured result:"));
        lines.push(indented(&pretty(schema), 6));
    }
    lines
}

fn requirement_lines(requirement: &Requirement) -> [String; 2] {
    let (what, why) = match requirement {
        Requirement::Http(http) => (
            format!(
                "http  {}: {} to {}{}",
                escape(&http.name),
                list(&http.methods),
                origin(&http.origin),
                if http.paths.is_empty() {
                    String::new()
                } else {
                    format!(", paths {}", list(&http.paths))
                },
            ),
            &http.why,
        ),
        Requirement::Secret(secret) => (
            format!(
                "secret  {}: towards {}{}",
                escape(&secret.name),
                origin(&secret.origin),
                if secret.reveal {
                    "; it may ask to see the value"
                } else {
                    "; it never sees the value"
                },
            ),
            &secret.why,
        ),
        Requirement::Setting(setting) => (
            format!(
                "setting  {}{}",
                escape(&setting.name),
                setting
                    .default
                    .as_ref()
                    .map_or_else(String::new, |default| format!(
                        " [default: {}]",
                        escape(default)
                    )),
            ),
            &setting.description,
        ),
        Requirement::Clock { why } => (String::from("clock"), why),
        Requirement::Random { why } => (String::from("random"), why),
    };
    [format!("  {what}"), indented(why, 6)]
}

fn origin(scope: &OriginScope) -> String {
    match scope {
        OriginScope::Literal(origin) => escape(origin),
        OriginScope::Setting(name) => format!("the origin in the setting `{}`", escape(name)),
        OriginScope::AnyPublic => String::from("any public origin"),
    }
}

fn list(items: &[String]) -> String {
    items
        .iter()
        .map(|item| escape(item))
        .collect::<Vec<_>>()
        .join(" ")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Text of the plugin, escaped, each line moved in, so that none can look like a line of ours.
fn indented(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    let lines: Vec<String> = escape_lines(text.trim_end())
        .split('\n')
        .map(|line| format!("{margin}{line}"))
        .collect();
    lines.join("\n")
}

/// How calls of a tool that does long work run.
fn job_line(lasts: Lasts) -> String {
    let how = if lasts.must {
        "run as jobs only"
    } else {
        "may run as jobs"
    };
    let first = if lasts.asks_first {
        ", once what it asks first is answered"
    } else {
        ""
    };
    format!("its calls {how}{first}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{HttpRequirement, SecretRequirement};

    #[test]
    fn what_a_plugin_says_stays_in_its_margin() {
        assert_eq!(
            indented("a\nerror: b\u{1b}[2J\n", 4),
            "    a\n    error: b\\u{1b}[2J"
        );
    }

    #[test]
    fn a_requirement_says_what_and_why() {
        let http = Requirement::Http(HttpRequirement {
            name: "api".into(),
            origin: OriginScope::Setting("origin".into()),
            methods: vec!["GET".into(), "POST".into()],
            paths: vec!["/repos/".into()],
            why: "to read issues".into(),
        });
        let secret = Requirement::Secret(SecretRequirement {
            name: "token".into(),
            reveal: false,
            origin: OriginScope::Literal("https://api.github.com".into()),
            why: "to act as you".into(),
        });
        let text = [requirement_lines(&http), requirement_lines(&secret)]
            .concat()
            .join("\n");
        insta::assert_snapshot!(text, @r#"
        http  api: GET POST to the origin in the setting `origin`, paths /repos/
            to read issues
        secret  token: towards https://api.github.com; it never sees the value
            to act as you
        "#);
    }

    #[test]
    fn a_file_or_a_name() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (name, path) = find("target/my_plugin.wasm", &home).unwrap();
        assert_eq!(
            (name.as_str(), path.as_path()),
            ("my-plugin", Path::new("target/my_plugin.wasm"))
        );
        assert!(find("fetch", &home).is_err());
        assert!(find("a/..wasm", &home).is_err());
    }
}
