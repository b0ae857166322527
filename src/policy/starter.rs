//! A first policy for a plugin: the least that lets its tools work, commented for its operator.
//!
//! Everything that the plugin wrote (names, paths, reasons) is guest-controlled: it goes into
//! literals escaped and into comments on one line, so that no text can become a rule.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::vocabulary::{group_of, type_of};
use crate::plugin::{Description, Kind, OriginScope, Requirement, SecretRequirement, Tool};

/// The longest text of the plugin's own that a comment takes.
const MAX_COMMENT: usize = 200;

/// A starter policy for the plugin: one permit per tool and per host call that it can lead to,
/// within what its requirements say. `origins` is where its requirements lead today, by their names
/// (as in [`PluginFacts`](super::PluginFacts)).
///
/// What changes something waits for a person. Connecting to addresses that are not public is not
/// allowed, nor is revealing a secret or putting one into a URL.
#[must_use]
pub fn starter(description: &Description, origins: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let plugin = &description.plugin;
    line(
        &mut out,
        &format!("// {plugin}: {}", comment(&description.summary)),
    );
    for text in [
        "//",
        "// Generated from what the plugin says of itself: the least that lets each tool work. Read it, narrow it, keep it.",
        "// Rules here answer for this plugin alone; rules for all plugins stand in `shared.cedar`.",
        "// `principal` alone means every agent. Narrow it to one, `principal == Agent::\"spiffe://tollgate.local/agent/NAME\"`,",
        "// or to a group of `entities.json`, `principal in Group::\"NAME\"`.",
        "// `when { context.approved }` means that a person must agree to each call. Who may, rules on the action `approve`",
        "// say: those in `shared.cedar`, or here `principal == User::\"NAME\"` with `action == Action::\"approve:PLUGIN.TOOL\"`.",
        "// `when { context has task }` means that the agent is on a task (`tollgate task start`), whose",
        "// `context.task.labels` says what it has seen.",
    ] {
        line(&mut out, text);
    }
    for tool in &description.tools {
        tool_rules(&mut out, description, tool, origins);
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn tool_rules(
    out: &mut String,
    description: &Description,
    tool: &Tool,
    origins: &BTreeMap<String, String>,
) {
    let name = &tool.name;
    let _ = writeln!(out, "\n// {name}: {}", comment(&tool.description));
    let asks = !tool.hints.read_only || tool.hints.destructive;
    line(
        out,
        if asks {
            "// The plugin does not call it read-only, so a person must agree to each call."
        } else {
            "// The plugin calls it read-only."
        },
    );
    let condition = if asks {
        "\nwhen { context.approved }"
    } else {
        ""
    };
    rule(
        out,
        name.to_string().as_str(),
        group_of(tool.kind()),
        tool,
        &match tool.kind() {
            Kind::Completion => format!("resource == Plugin::\"{}\"", description.plugin),
            kind => format!("resource == {}::\"{name}\"", type_of(kind)),
        },
        condition,
    );
    if !tool.asks.is_empty() {
        let kinds: Vec<String> = tool.asks.iter().map(|k| literal(k.as_str())).collect();
        line(
            out,
            "\n// Questions to the client: it answers, or its user does, and either is its word.",
        );
        rule(
            out,
            &format!("{name}.ask"),
            "ask",
            tool,
            &format!("resource == Plugin::\"{}\"", description.plugin),
            &format!("\nwhen {{ {} }}", one_of("context.kind", &kinds)),
        );
    }
    for used in &tool.uses {
        match description.requirement(used) {
            Some(Requirement::Http(http)) => {
                let _ = writeln!(out, "\n// HTTP requests: {}", comment(&http.why));
                let id = format!("{name}.{}", http.name);
                let (resource, place) = match origin(description, &http.origin, &http.name, origins)
                {
                    Some(origin) => (
                        format!("resource == Origin::{}", literal(&origin)),
                        String::new(),
                    ),
                    None if http.origin == OriginScope::AnyPublic => {
                        line(
                            out,
                            "// To any public origin: better, name the hosts: `[\"docs.rs\"].contains(context.host)`.",
                        );
                        let place = "  context.scheme == \"https\" &&\n  context.port == 443 &&\n";
                        (
                            format!("resource in Plugin::\"{}\"", description.plugin),
                            place.to_owned(),
                        )
                    }
                    None => {
                        line(
                            out,
                            "// Its origin is a setting without a value. Set it, and generate this again.",
                        );
                        continue;
                    }
                };
                let methods: Vec<String> = http.methods.iter().map(|m| literal(m)).collect();
                let mut tests = vec![
                    format!("context.requirement == {}", literal(&http.name)),
                    one_of("context.method", &methods),
                    paths(&http.paths),
                ];
                tests.push(secrets(description, tool, &http.origin));
                let condition = format!("\nwhen\n{{\n{place}  {}\n}}", tests.join(" &&\n  "));
                rule(out, &id, "http", tool, &resource, &condition);
            }
            Some(Requirement::Secret(secret)) => {
                secret_rules(out, description, tool, secret, origins)
            }
            Some(Requirement::Clock { why }) => {
                let _ = writeln!(out, "\n// The time of day: {}", comment(why));
                let resource = format!("resource == Plugin::\"{}\"", description.plugin);
                rule(out, &format!("{name}.clock"), "clock", tool, &resource, "");
            }
            Some(Requirement::Random { why }) => {
                let _ = writeln!(out, "\n// Random bytes: {}", comment(why));
                let resource = format!("resource == Plugin::\"{}\"", description.plugin);
                rule(
                    out,
                    &format!("{name}.random"),
                    "random",
                    tool,
                    &resource,
                    "",
                );
            }
            Some(Requirement::Setting(_)) | None => {}
        }
    }
}

fn secret_rules(
    out: &mut String,
    description: &Description,
    tool: &Tool,
    secret: &SecretRequirement,
    origins: &BTreeMap<String, String>,
) {
    let _ = writeln!(
        out,
        "\n// The secret `{}`, put in by the host and never seen by the plugin: {}",
        secret.name,
        comment(&secret.why)
    );
    let Some(origin) = origin(description, &secret.origin, &secret.name, origins) else {
        line(
            out,
            "// Its origin is a setting without a value. Set it, and generate this again.",
        );
        return;
    };
    let condition = format!(
        "\nwhen {{ context.origin == {} && context.scheme != \"query\" }}",
        literal(&origin)
    );
    let resource = format!("resource == Secret::{}", literal(&secret.name));
    let id = format!("{}.{}", tool.name, secret.name);
    rule(out, &id, "use-secret", tool, &resource, &condition);
    if secret.reveal {
        line(
            out,
            "// The plugin also asks to see its value. It then can put it anywhere. To allow that, take the `//` away:",
        );
        let mut reveal = String::new();
        let id = format!("{id}.reveal");
        rule(
            &mut reveal,
            &id,
            "reveal-secret",
            tool,
            &resource,
            "\nwhen { context.approved }",
        );
        for text in reveal.lines() {
            line(out, &format!("// {text}"));
        }
    }
}

fn rule(out: &mut String, id: &str, group: &str, tool: &Tool, resource: &str, condition: &str) {
    let _ = writeln!(
        out,
        "@id({})\npermit (\n  principal,\n  action == Action::\"{group}:{}\",\n  {resource}\n){condition};",
        literal(id),
        tool.name
    );
}

fn one_of(key: &str, literals: &[String]) -> String {
    match literals {
        [one] => format!("{key} == {one}"),
        // Nothing is declared, so nothing is allowed.
        [] => "false".to_owned(),
        _ => format!("[{}].contains({key})", literals.join(", ")),
    }
}

/// A prefix that ends with `/` covers what is below it, any other itself and what is below it.
fn paths(prefixes: &[String]) -> String {
    let tests: Vec<String> = prefixes
        .iter()
        .map(|prefix| {
            let below = prefix.strip_suffix('/').unwrap_or(prefix);
            let pattern = format!("context.path like {}", like(below));
            if prefix.ends_with('/') {
                pattern
            } else {
                format!("context.path == {} || {pattern}", literal(prefix))
            }
        })
        .collect();
    if tests.is_empty() {
        return "false".to_owned();
    }
    format!("({})", tests.join(" || "))
}

/// The secrets that may go along: those that this tool uses and that are bound to the same origin.
fn secrets(description: &Description, tool: &Tool, to: &OriginScope) -> String {
    let bound: Vec<String> = tool
        .uses
        .iter()
        .filter_map(|name| match description.requirement(name) {
            Some(Requirement::Secret(secret)) if secret.origin == *to => Some(literal(name)),
            _ => None,
        })
        .collect();
    if bound.is_empty() {
        "context.secrets.isEmpty()".to_owned()
    } else {
        format!("[{}].containsAll(context.secrets)", bound.join(", "))
    }
}

fn origin(
    description: &Description,
    scope: &OriginScope,
    requirement: &str,
    origins: &BTreeMap<String, String>,
) -> Option<String> {
    match scope {
        OriginScope::Literal(origin) => Some(origin.clone()),
        OriginScope::Setting(name) => {
            origins
                .get(requirement)
                .cloned()
                .or_else(|| match description.requirement(name) {
                    Some(Requirement::Setting(setting)) => setting.default.clone(),
                    _ => None,
                })
        }
        OriginScope::AnyPublic => None,
    }
}

/// A Cedar string literal.
fn literal(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// A Cedar pattern for what lies below this path.
fn like(text: &str) -> String {
    format!("\"{}/*\"", escape(text).replace('*', "\\*"))
}

fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => c.escape_unicode().collect(),
            c => vec![c],
        })
        .collect()
}

/// One line of a comment: no line break of any kind, nothing that shows otherwise than it reads.
fn comment(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .take(MAX_COMMENT)
        .collect();
    if text.chars().count() > MAX_COMMENT {
        out.push('…');
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{
        Dir, ORIGIN, comment as commented, description, facts, github, http, said,
    };
    use super::*;

    #[test]
    fn a_starter_validates_and_does_what_it_says() {
        let text = starter(&github(), &BTreeMap::new());
        let loaded = Dir::new(&[("github.cedar", &text)]).load(None);
        assert!(loaded.findings.is_empty(), "{:#?}\n{text}", loaded.findings);
        let asked = commented("ada");
        let set = &loaded.set;
        assert_eq!(
            said(set.decide_call(&asked.question())),
            "hold github.comment"
        );
        let agreed = commented("ada").agreed(&["eve"]);
        assert_eq!(
            said(set.decide_call(&agreed.question())),
            "allow github.comment"
        );
        let decide =
            |method, path| said(set.decide_host_call(&asked.facts(), http(ORIGIN, method, path)));
        assert_eq!(decide("POST", "/repos/a"), "allow github.comment.api");
        assert_eq!(decide("GET", "/search/issues"), "allow github.comment.api");
        assert_eq!(
            decide("GET", "/search/issues/x"),
            "allow github.comment.api"
        );
        assert_eq!(decide("GET", "/search/issuesx"), "policy.default_deny");
        assert_eq!(decide("DELETE", "/repos/a"), "policy.default_deny");
    }

    #[test]
    fn what_a_plugin_writes_never_becomes_a_rule() {
        let mut evil = description("github");
        let attack = "x\npermit(principal, action, resource);\r\u{2028}\u{85}";
        evil.summary = attack.to_owned();
        for tool in &mut evil.tools {
            tool.description = attack.to_owned();
        }
        for requirement in &mut evil.requirements {
            if let Requirement::Http(http) = requirement {
                http.why = attack.to_owned();
                http.paths = vec!["/a\" || true || \"*\\".to_owned()];
            }
        }
        let text = starter(&evil, &BTreeMap::new());
        let dir = Dir::new(&[("github.cedar", &text)]);
        let loaded = super::super::PolicySet::load(dir.path(), &[facts(&evil)], None);
        assert!(loaded.findings.is_empty(), "{:#?}\n{text}", loaded.findings);
        let asked = commented("ada");
        assert_eq!(
            said(loaded.set.decide_call(&asked.question())),
            "hold github.comment"
        );
        let sent = loaded
            .set
            .decide_host_call(&asked.facts(), http(ORIGIN, "POST", "/repos/a"));
        assert_eq!(said(sent), "policy.default_deny");
    }
}
