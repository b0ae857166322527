//! `tollgate serve --quickstart`: the first agent, and how to connect to it.

use std::path::Path;

use serde_json::json;

use super::fault::Fault;
use super::printer::{Printer, STRONG};
use crate::host::Host;

/// The first agent's name.
pub(crate) const FIRST: &str = "quickstart";

/// Makes the first agent where there is none, and prints how to connect.
pub(crate) async fn run(host: &Host, endpoint: &str, printer: &mut Printer) -> Result<(), Fault> {
    let token = first_agent(host).await?;
    let program = std::env::current_exe().unwrap_or_else(|_| "tollgate".into());
    show(
        &Facts {
            endpoint: endpoint.to_owned(),
            token: token.as_ref().map(|token| token.expose()),
            home: host.home().root(),
            program: &program,
        },
        printer,
    )
}

async fn first_agent(host: &Host) -> Result<Option<crate::identity::AgentToken>, Fault> {
    if !host.identities().list().is_empty() {
        return Ok(None);
    }
    host.changed("agent.added", FIRST)?;
    let identities = host.identities().clone();
    // Waits for the disk.
    let issued = tokio::task::spawn_blocking(move || {
        identities.issue(FIRST, Some(crate::identity::LIFETIME))
    })
    .await??;
    Ok(Some(issued.token))
}

/// What there is to print.
struct Facts<'a> {
    endpoint: String,
    /// Only in the moment in which the agent is made.
    token: Option<&'a str>,
    home: &'a Path,
    program: &'a Path,
}

fn show(facts: &Facts<'_>, printer: &mut Printer) -> Result<(), Fault> {
    let Facts {
        endpoint,
        token,
        home,
        program,
    } = facts;
    let stdio = json!({
        "command": program, "args": ["--home", home, "serve", "--stdio", "--agent", FIRST],
    });
    if printer.is_json() {
        return printer.object(
            "quickstart",
            &json!({"endpoint": endpoint, "agent": FIRST, "token": token, "stdio": stdio}),
        );
    }
    let head = |printer: &Printer, text: &str| printer.paint(STRONG, text);
    let shown = token.unwrap_or("<token>");
    let mut text = vec![format!("{}  {endpoint}", head(printer, "endpoint"))];
    match token {
        Some(token) => {
            text.push(format!("{}     {FIRST}", head(printer, "agent")));
            text.push(format!("{}     {token}", head(printer, "token")));
            text.push(String::from("          shown this once; `tollgate agent add NAME` makes another agent"));
        }
        None => text.push(String::from(
            "there are agents already: `tollgate agent list` shows them, `tollgate agent add NAME` makes another",
        )),
    }
    // What clients take is a URL; over a socket there is none.
    if endpoint.starts_with("http") {
        text.extend(over_http(printer, endpoint, shown)?);
    }
    text.push(String::new());
    text.push(head(
        printer,
        "or over standard input and output, without a token",
    ));
    let words = [
        shell_word(&program.to_string_lossy()),
        String::from("--home"),
        shell_word(&home.to_string_lossy()),
        format!("serve --stdio --agent {FIRST}"),
    ];
    text.push(format!("  {}", words.join(" ")));
    text.push(String::new());
    for line in text {
        printer.line(&line)?;
    }
    Ok(())
}

fn over_http(printer: &Printer, endpoint: &str, token: &str) -> Result<Vec<String>, Fault> {
    let server = json!({"mcpServers": {"tollgate": {
        "type": "http", "url": endpoint, "headers": {"Authorization": format!("Bearer {token}")},
    }}});
    Ok(vec![
        String::new(),
        printer.paint(STRONG, "add it to Claude Code"),
        format!(
            "  claude mcp add --transport http tollgate {endpoint} --header \"Authorization: Bearer {token}\""
        ),
        String::new(),
        printer.paint(STRONG, "or to a client that takes `mcpServers`"),
        indented(&serde_json::to_string_pretty(&server)?),
    ])
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A word that a shell takes as it is, so that a line can be copied.
fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+=:@%,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn what_a_new_user_reads() {
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        let facts = Facts {
            endpoint: "http://127.0.0.1:8787/mcp".into(),
            token: Some("tg_TOKEN"),
            home: Path::new("/home/ann/my tools"),
            program: Path::new("/usr/bin/tollgate"),
        };
        show(&facts, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        endpoint  http://127.0.0.1:8787/mcp
        agent     quickstart
        token     tg_TOKEN
                  shown this once; `tollgate agent add NAME` makes another agent

        add it to Claude Code
          claude mcp add --transport http tollgate http://127.0.0.1:8787/mcp --header "Authorization: Bearer tg_TOKEN"

        or to a client that takes `mcpServers`
          {
            "mcpServers": {
              "tollgate": {
                "type": "http",
                "url": "http://127.0.0.1:8787/mcp",
                "headers": {
                  "Authorization": "Bearer tg_TOKEN"
                }
              }
            }
          }

        or over standard input and output, without a token
          /usr/bin/tollgate --home '/home/ann/my tools' serve --stdio --agent quickstart
        "#);
    }

    #[test]
    fn a_shell_takes_the_words_as_they_are() {
        assert_eq!(shell_word("/a/b-c"), "/a/b-c");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
