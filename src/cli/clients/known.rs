//! The clients that are known: where each has its file, and what a server looks like in it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::journal::escape;

/// A client of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// Claude Code.
    Claude,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Cursor.
    Cursor,
    /// VS Code.
    Vscode,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// Windsurf.
    Windsurf,
    /// Zed.
    Zed,
    /// OpenCode.
    Opencode,
}

/// How a client's file is written, and the table in it that holds servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON; comments and trailing commas are kept.
    Json(&'static str),
    Toml(&'static str),
}

/// How a client reaches the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Server {
    /// It starts a program and speaks on its standard input and output.
    Stdio { command: String, args: Vec<String> },
    /// It asks over HTTP; the token is in a variable of its environment.
    Http { url: String, variable: String },
}

/// The folders in which clients keep their files.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The user's own folder.
    pub(super) user: PathBuf,
    /// Where programs of the user keep their configuration.
    pub(super) config: PathBuf,
    /// The folder that the command was started in.
    pub(super) project: PathBuf,
    /// Where Codex is told to keep its own.
    pub(super) codex: Option<PathBuf>,
}

impl Places {
    pub(super) fn of_this_process() -> Result<Self, Fault> {
        let folder = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let user = folder("HOME").ok_or_else(|| {
            Fault::new(Exit::Failed, "`HOME` is not set")
                .hint("name the file with `--file PATH`, or set it")
        })?;
        let config = if cfg!(target_os = "macos") {
            user.join("Library/Application Support")
        } else {
            folder("XDG_CONFIG_HOME").unwrap_or_else(|| user.join(".config"))
        };
        Ok(Self {
            config,
            project: std::env::current_dir()?,
            codex: folder("CODEX_HOME"),
            user,
        })
    }
}

impl Client {
    /// Its name on the command line, which is also that of its agent where none is given.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::ClaudeDesktop => "claude-desktop",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Windsurf => "windsurf",
            Self::Zed => "zed",
            Self::Opencode => "opencode",
        }
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::Claude | Self::ClaudeDesktop | Self::Cursor | Self::Gemini | Self::Windsurf => {
                Form::Json("mcpServers")
            }
            Self::Vscode => Form::Json("servers"),
            Self::Zed => Form::Json("context_servers"),
            Self::Opencode => Form::Json("mcp"),
            Self::Codex => Form::Toml("mcp_servers"),
        }
    }

    /// Its file: the user's, or that of the project in the current folder.
    pub(super) fn file(self, places: &Places, project: bool) -> Result<PathBuf, Fault> {
        let Places {
            user,
            config,
            project: here,
            codex,
        } = places;
        if project {
            let file = match self {
                Self::Claude => ".mcp.json",
                Self::Cursor => ".cursor/mcp.json",
                Self::Vscode => ".vscode/mcp.json",
                Self::Codex => ".codex/config.toml",
                Self::Gemini => ".gemini/settings.json",
                Self::Zed => ".zed/settings.json",
                Self::Opencode => "opencode.json",
                Self::ClaudeDesktop | Self::Windsurf => {
                    return Err(Fault::invalid(format!(
                        "`{}` has no file of its own in a project: leave `--project` out",
                        self.name()
                    )));
                }
            };
            return Ok(here.join(file));
        }
        Ok(match self {
            Self::Claude => user.join(".claude.json"),
            Self::ClaudeDesktop => config.join("Claude/claude_desktop_config.json"),
            Self::Cursor => user.join(".cursor/mcp.json"),
            Self::Vscode => config.join("Code/User/mcp.json"),
            Self::Codex => codex
                .clone()
                .unwrap_or_else(|| user.join(".codex"))
                .join("config.toml"),
            Self::Gemini => user.join(".gemini/settings.json"),
            Self::Windsurf => user.join(".codeium/windsurf/mcp_config.json"),
            // Also on macOS.
            Self::Zed => zed(user, config).join("zed/settings.json"),
            Self::Opencode => zed(user, config).join("opencode/opencode.json"),
        })
    }

    /// Whether it replaces `${…}` or the like in the words of a command.
    const fn replaces(self) -> bool {
        !matches!(self, Self::Codex | Self::ClaudeDesktop | Self::Zed)
    }

    /// A path as a word of the command that the client runs, which it takes as it is.
    pub(super) fn word(self, path: &Path) -> Result<String, Fault> {
        let wrong = |why: &str| {
            let shown = escape(&path.display().to_string());
            Err(Fault::invalid(format!(
                "`{shown}` can't stand in the file of `{}`: {why}",
                self.name()
            ))
            .hint("use a home and a program with plainer paths, such as by a link to them"))
        };
        let Some(text) = path.to_str() else {
            return wrong("it is not UTF-8");
        };
        if text.chars().any(char::is_control) {
            return wrong("it has a control character");
        }
        if self.replaces() && text.contains(['$', '{', '}', '%']) {
            return wrong("the client could replace a part of it");
        }
        Ok(text.to_owned())
    }

    /// A server as its file has it.
    pub(super) fn entry(self, server: &Server) -> Result<Value, Fault> {
        Ok(match (self, server) {
            (Self::Claude | Self::Vscode, Server::Stdio { command, args }) => {
                json!({"type": "stdio", "command": command, "args": args})
            }
            (Self::Opencode, Server::Stdio { command, args }) => {
                let words: Vec<&String> = std::iter::once(command).chain(args).collect();
                json!({"type": "local", "command": words, "enabled": true})
            }
            (_, Server::Stdio { command, args }) => json!({"command": command, "args": args}),
            (Self::Claude, Server::Http { url, variable }) => {
                json!({"type": "http", "url": url, "headers": bearer(&format!("${{{variable}}}"))})
            }
            (Self::Cursor, Server::Http { url, variable }) => {
                json!({"url": url, "headers": bearer(&format!("${{env:{variable}}}"))})
            }
            (Self::Vscode, Server::Http { url, variable }) => {
                json!({"type": "http", "url": url, "headers": bearer(&format!("${{env:{variable}}}"))})
            }
            (Self::Opencode, Server::Http { url, variable }) => {
                json!({"type": "remote", "url": url, "enabled": true, "headers": bearer(&format!("{{env:{variable}}}"))})
            }
            (Self::Codex, Server::Http { url, variable }) => {
                json!({"url": url, "bearer_token_env_var": variable})
            }
            (_, Server::Http { .. }) => {
                return Err(Fault::invalid(format!(
                    "the file of `{}` can't name a variable for the token: leave `--http` out",
                    self.name()
                )));
            }
        })
    }
}

/// The configuration folder of programs that keep to it on every system.
fn zed(user: &Path, config: &Path) -> PathBuf {
    if cfg!(target_os = "macos") {
        user.join(".config")
    } else {
        config.to_owned()
    }
}

fn bearer(token: &str) -> Value {
    json!({"Authorization": format!("Bearer {token}")})
}
