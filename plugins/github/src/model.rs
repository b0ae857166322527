//! What the API says, and what this plugin makes of it: the parts that a model needs, bounded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Characters of one description or comment. Longer ones are cut and say so.
const BODY_CHARACTERS: usize = 12_000;

/// The API's objects. Everything that could be absent or null is allowed to be.
pub(crate) mod wire {
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    pub(crate) struct User {
        pub(crate) login: String,
    }

    #[derive(Debug, Deserialize)]
    pub(crate) struct Label {
        pub(crate) name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    pub(crate) struct Branch {
        pub(crate) label: Option<String>,
        #[serde(rename = "ref")]
        pub(crate) name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    pub(crate) struct Issue {
        pub(crate) number: u64,
        pub(crate) title: Option<String>,
        pub(crate) state: Option<String>,
        pub(crate) state_reason: Option<String>,
        pub(crate) user: Option<User>,
        #[serde(default)]
        pub(crate) labels: Option<Vec<Label>>,
        pub(crate) comments: Option<u64>,
        pub(crate) created_at: Option<String>,
        pub(crate) updated_at: Option<String>,
        pub(crate) html_url: Option<String>,
        pub(crate) repository_url: Option<String>,
        pub(crate) body: Option<String>,
        pub(crate) pull_request: Option<serde_json::Value>,
        // Of pull requests alone.
        pub(crate) draft: Option<bool>,
        pub(crate) merged: Option<bool>,
        pub(crate) merged_at: Option<String>,
        pub(crate) mergeable_state: Option<String>,
        pub(crate) base: Option<Branch>,
        pub(crate) head: Option<Branch>,
        pub(crate) additions: Option<u64>,
        pub(crate) deletions: Option<u64>,
        pub(crate) changed_files: Option<u64>,
    }

    #[derive(Debug, Deserialize)]
    pub(crate) struct Comment {
        pub(crate) user: Option<User>,
        pub(crate) created_at: Option<String>,
        pub(crate) html_url: Option<String>,
        pub(crate) body: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    pub(crate) struct Repository {
        pub(crate) full_name: String,
        pub(crate) description: Option<String>,
        pub(crate) language: Option<String>,
        pub(crate) stargazers_count: Option<u64>,
        pub(crate) open_issues_count: Option<u64>,
        pub(crate) archived: Option<bool>,
        pub(crate) pushed_at: Option<String>,
        pub(crate) html_url: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    pub(crate) struct Found<T> {
        pub(crate) total_count: u64,
        #[serde(default)]
        pub(crate) incomplete_results: bool,
        pub(crate) items: Vec<T>,
    }
}

/// Whether it is an issue or a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An issue.
    Issue,
    /// A pull request.
    Pull,
}

/// An issue or a pull request, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// `owner/name`.
    pub repo: String,
    /// Its number there.
    pub number: u64,
    /// Whether it is an issue or a pull request.
    pub kind: Kind,
    /// Its title.
    pub title: String,
    /// `open`, `closed` or `merged`, with `draft` or a reason where there is one.
    pub state: String,
    /// Who opened it.
    pub author: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// How many comments it has, where that is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comments: Option<u64>,
    /// When it was opened.
    pub created: String,
    /// When it last changed.
    pub updated: String,
    /// Its page.
    pub url: String,
}

impl Summary {
    /// `repo` is where it was asked for; a search tells it of each.
    pub(crate) fn of(issue: wire::Issue, repo: Option<&str>, pull: bool) -> Self {
        let repo = repo.map(str::to_owned).or_else(|| {
            let (_, repo) = issue.repository_url.as_deref()?.split_once("/repos/")?;
            Some(line(repo, 150))
        });
        let mut state = line(issue.state.as_deref().unwrap_or("unknown"), 20);
        if issue.merged == Some(true) || issue.merged_at.is_some() {
            "merged".clone_into(&mut state);
        } else if issue.draft == Some(true) {
            state.push_str(" (draft)");
        } else if let Some(reason) = issue
            .state_reason
            .as_deref()
            .filter(|reason| !reason.is_empty())
        {
            state = format!("{state} ({})", line(reason, 30));
        }
        Self {
            repo: repo.unwrap_or_default(),
            number: issue.number,
            kind: if pull || issue.pull_request.is_some() {
                Kind::Pull
            } else {
                Kind::Issue
            },
            title: line(issue.title.as_deref().unwrap_or(""), 300),
            state,
            author: login(issue.user.as_ref()),
            labels: issue
                .labels
                .unwrap_or_default()
                .into_iter()
                .filter_map(|label| label.name)
                .map(|name| line(&name, 60))
                .take(30)
                .collect(),
            comments: issue.comments,
            created: line(issue.created_at.as_deref().unwrap_or(""), 30),
            updated: line(issue.updated_at.as_deref().unwrap_or(""), 30),
            url: line(issue.html_url.as_deref().unwrap_or(""), 300),
        }
    }

    /// `#12 open: Title (by ada, 2026-11-22, 3 comments) [bug]`.
    pub(crate) fn line(&self) -> String {
        let kind = match self.kind {
            Kind::Issue => "",
            Kind::Pull => " (pull request)",
        };
        let comments = match self.comments {
            None | Some(0) => String::new(),
            Some(1) => ", 1 comment".to_owned(),
            Some(count) => format!(", {count} comments"),
        };
        let labels = if self.labels.is_empty() {
            String::new()
        } else {
            format!(" [{}]", self.labels.join(", "))
        };
        let day = self.updated.split('T').next().unwrap_or("");
        format!(
            "{}#{}{kind} {}: {} (by {}, changed {day}{comments}){labels}",
            self.repo, self.number, self.state, self.title, self.author
        )
    }
}

/// A repository, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Repository {
    /// `owner/name`.
    pub repo: String,
    /// What it says of itself.
    pub description: String,
    /// The language that most of it is in.
    pub language: String,
    /// How many people starred it.
    pub stars: u64,
    /// Open issues and pull requests.
    pub open_issues: u64,
    /// Whether it is archived.
    pub archived: bool,
    /// When something was last pushed.
    pub pushed: String,
    /// Its page.
    pub url: String,
}

impl Repository {
    pub(crate) fn of(repository: wire::Repository) -> Self {
        Self {
            repo: line(&repository.full_name, 150),
            description: line(repository.description.as_deref().unwrap_or(""), 350),
            language: line(repository.language.as_deref().unwrap_or(""), 40),
            stars: repository.stargazers_count.unwrap_or(0),
            open_issues: repository.open_issues_count.unwrap_or(0),
            archived: repository.archived.unwrap_or(false),
            pushed: line(repository.pushed_at.as_deref().unwrap_or(""), 30),
            url: line(repository.html_url.as_deref().unwrap_or(""), 300),
        }
    }

    pub(crate) fn line(&self) -> String {
        let archived = if self.archived { ", archived" } else { "" };
        format!(
            "{} ({}, {} stars{archived}): {}",
            self.repo, self.language, self.stars, self.description
        )
    }
}

/// What only a pull request has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pull {
    /// The branch it goes into.
    pub base: String,
    /// The branch it comes from.
    pub head: String,
    /// Whether it can be merged, in GitHub's words.
    pub mergeable: String,
    /// Lines added.
    pub additions: u64,
    /// Lines removed.
    pub deletions: u64,
    /// Files changed.
    pub changed_files: u64,
}

impl Pull {
    pub(crate) fn of(issue: &wire::Issue) -> Self {
        let branch = |branch: Option<&wire::Branch>| {
            line(
                branch
                    .and_then(|b| b.label.as_deref().or(b.name.as_deref()))
                    .unwrap_or(""),
                200,
            )
        };
        Self {
            base: branch(issue.base.as_ref()),
            head: branch(issue.head.as_ref()),
            mergeable: line(issue.mergeable_state.as_deref().unwrap_or("unknown"), 30),
            additions: issue.additions.unwrap_or(0),
            deletions: issue.deletions.unwrap_or(0),
            changed_files: issue.changed_files.unwrap_or(0),
        }
    }
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Comment {
    /// Who wrote it.
    pub author: String,
    /// When.
    pub created: String,
    /// What it says, in GitHub's Markdown. Untrusted.
    pub body: String,
    /// Its page.
    pub url: String,
}

impl Comment {
    pub(crate) fn of(comment: wire::Comment) -> Self {
        Self {
            author: login(comment.user.as_ref()),
            created: line(comment.created_at.as_deref().unwrap_or(""), 30),
            body: body(comment.body.as_deref().unwrap_or("")),
            url: line(comment.html_url.as_deref().unwrap_or(""), 300),
        }
    }
}

/// A deleted account is null.
fn login(user: Option<&wire::User>) -> String {
    user.map_or_else(|| "ghost".to_owned(), |user| line(&user.login, 60))
}

/// Characters that nobody sees and that can carry text past a reader.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A text of one line, of at most so many characters.
pub(crate) fn line(text: &str, most: usize) -> String {
    let text: String = text
        .chars()
        .map(|c| if c == '\n' || c == '\t' { ' ' } else { c })
        .filter(|c| !invisible(*c))
        .collect();
    text.trim().chars().take(most).collect()
}

/// A description or a comment: without invisible characters and without what the page hides (`<!-- -->`), bounded.
pub(crate) fn body(text: &str) -> String {
    let mut visible = String::with_capacity(text.len().min(BODY_CHARACTERS * 4));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        visible.push_str(before);
        // A comment that is not closed hides the rest, as on the page.
        rest = after.split_once("-->").map_or("", |(_, rest)| rest);
    }
    visible.push_str(rest);
    let mut out: String = visible
        .chars()
        .filter(|c| !invisible(*c))
        .take(BODY_CHARACTERS)
        .collect();
    if visible
        .chars()
        .filter(|c| !invisible(*c))
        .nth(BODY_CHARACTERS)
        .is_some()
    {
        out.push_str("\n[cut here; the rest is on the page]");
    }
    out.trim().to_owned()
}
