//! What the protocol needs of the host behind it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::call::{Arrival, Notice, Reply};
use crate::id::{ApprovalId, TaskId};
use crate::identity::{Authenticated, MintRequest, Minted};
use crate::job::{Jobs, Seat};
use crate::name::{PluginName, ToolName};
use crate::plugin::{Hints, Kind, Lasts, Offer, QuestionKind, Tool};
use crate::reason::{Reason, Refusal};

/// The host, as the protocol sees it.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The tools that `who` could be allowed to call on `task`, where it names one, in an order that
    /// stays the same while they do.
    fn tools(&self, who: &Authenticated, task: Option<TaskId>) -> Vec<Arc<ListedTool>>;

    /// What else `who` could be allowed to use, of this kind: the same, and in the same way.
    fn offers(
        &self,
        _who: &Authenticated,
        _task: Option<TaskId>,
        _kind: Kind,
    ) -> Vec<Arc<ListedTool>> {
        Vec::new()
    }

    /// The name by which the completion of an argument is called, and that of what it is an argument of, as
    /// the plugin knows it. None where its plugin completes nothing.
    ///
    /// # Errors
    ///
    /// `who` sees no such prompt or resource.
    fn completes(
        &self,
        _who: &Authenticated,
        _task: Option<TaskId>,
        _of: Completed<'_>,
    ) -> Result<Option<(String, String)>, Unknown> {
        Err(Unknown)
    }

    /// Whether `who` could be allowed to read the resource at `uri`.
    fn reads(&self, _who: &Authenticated, _task: Option<TaskId>, _uri: &str) -> bool {
        false
    }

    /// Whose resource is at `uri`.
    fn owner(&self, _uri: &str) -> Option<PluginName> {
        None
    }

    /// What plugins say to everybody's clients.
    fn notices(&self) -> broadcast::Receiver<Notice> {
        broadcast::Sender::new(1).subscribe()
    }

    /// The tool that agents see by this name. Used to check a request's headers against its body,
    /// never to decide anything.
    fn tool(&self, wire: &str) -> Option<Arc<ListedTool>>;

    /// Runs a call, to its recorded end. Once `cancel` is cancelled it ends soon, and still answers.
    async fn call(self: Arc<Self>, arrival: Arrival, cancel: CancellationToken) -> Reply;

    /// Refuses a call before it is looked at: with a record, like any other.
    async fn refuse(self: Arc<Self>, arrival: Arrival, refusal: Refusal) -> Reply;

    /// The calls that run as jobs, where this host has any.
    fn jobs(&self) -> Option<&Jobs> {
        None
    }

    /// How calls of the tool that agents see by this name run as jobs; none where they don't.
    fn lasts(&self, _wire: &str) -> Option<Lasts> {
        None
    }

    /// A job for a call of `who`.
    ///
    /// # Errors
    ///
    /// There is no room for one.
    fn job_of(&self, _who: &Arc<Authenticated>, _wire: &str) -> Result<Seat, Refusal> {
        Err(Refusal::new(Reason::LimitJobs, "this host has no jobs"))
    }

    /// Whether `who` may have what is its own.
    ///
    /// # Errors
    ///
    /// It was revoked, or what it presented is no longer good.
    fn holds(&self, _who: &Authenticated) -> Result<(), Refusal> {
        Ok(())
    }

    /// Changes whenever what `tools` answers may have changed.
    fn tools_changed(&self) -> watch::Receiver<u64>;

    /// Who presents these credentials.
    ///
    /// # Errors
    ///
    /// Nobody who may act.
    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Authenticated, Unauthorized>;

    /// Counts a request of `who`, before it is read.
    ///
    /// # Errors
    ///
    /// It asks too often.
    fn admits(&self, _who: &Authenticated) -> Result<(), TooOften> {
        Ok(())
    }

    /// Takes note that `who` was refused for having too much open at once, and of what is said of that.
    fn crowded(&self, _who: &Authenticated, _why: &str) {}

    /// Ends once `who` may not keep open what it opened: what it presented was revoked or replaced, or has
    /// expired.
    fn ends(self: Arc<Self>, _who: Arc<Authenticated>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    /// Where clients get tokens for this server (RFC 9728); none where it takes only those that its
    /// operator hands out.
    fn metadata(&self) -> Option<Metadata>;

    /// Makes a token out of the right of `who`, which never gives more than that.
    ///
    /// # Errors
    ///
    /// It would give more, or can't be made.
    async fn mint(&self, who: &Authenticated, ask: MintRequest) -> Result<Minted, Refusal>;

    /// The page on which a person answers this approval, where there is one.
    fn approval_url(&self, _approval: ApprovalId) -> Option<String> {
        None
    }

    /// Waits until a person answered, at most for `limit`; whether one did. What the answer is shows when the
    /// call comes again.
    ///
    /// # Errors
    ///
    /// Nobody will: why the approval is over.
    async fn answered(&self, _approval: ApprovalId, _limit: Duration) -> Result<bool, Refusal> {
        Ok(false)
    }

    /// The time, since 1970.
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether calls that come now can run; where not, a word that says why.
    ///
    /// # Errors
    ///
    /// They are all refused for now, or for good.
    fn ready(&self) -> Result<(), &'static str> {
        if self.draining().is_cancelled() {
            return Err("ending");
        }
        Ok(())
    }

    /// Cancelled once the host takes no more calls.
    fn draining(&self) -> CancellationToken;
}

/// What is being completed.
#[derive(Debug, Clone, Copy)]
pub enum Completed<'a> {
    /// An argument of the prompt that agents see by this name.
    Prompt(&'a str),
    /// A variable of the resources with this template.
    Template(&'a str),
}

/// There is nothing of that name, or not for this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// What a request presents.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The bearer token.
    pub bearer: &'a str,
    /// What another agent handed on to this one.
    pub handoff: Option<&'a str>,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Where clients get tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The URL of this server: the audience of the tokens.
    pub resource: String,
    /// The issuers.
    pub issuers: Vec<String>,
    /// Scopes that tokens may need.
    pub scopes: Vec<String>,
}

/// No agent was established.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// The token is not one that is in force; why, where its holder may know.
    #[error("the token is not one that is in force")]
    Invalid(Option<Reason>),
    /// It is good, but lacks this scope.
    #[error("the token lacks the scope `{0}`")]
    Scope(String),
    /// That can't be told now.
    #[error("whether the token is in force can't be told now")]
    Unavailable,
}

/// An agent asks more often than it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TooOften {
    /// After this time it may ask again.
    pub wait: Duration,
    /// Which limit that is.
    pub message: String,
}

/// A tool as agents see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedTool {
    /// The name on the wire.
    pub name: String,
    /// The name in policy and records; none where the tool is of no plugin.
    pub full: Option<ToolName>,
    /// For people.
    pub title: Option<String>,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Arc<Map<String, Value>>,
    /// JSON Schema of the structured content.
    pub output_schema: Option<Arc<Map<String, Value>>>,
    /// The plugin's own word on its effects.
    pub hints: Hints,
    /// What it is, beyond that.
    pub offer: Offer,
    /// What it may ask clients.
    pub asks: Vec<QuestionKind>,
    /// How its calls run as jobs, by the plugin's word.
    pub lasts: Option<Lasts>,
    /// Whether the schema asks for arguments to be repeated in headers (`x-mcp-header`).
    in_headers: bool,
}

impl ListedTool {
    /// A tool without a title, an output schema or hints.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        input_schema: Map<String, Value>,
    ) -> Self {
        Self {
            name: name.into(),
            full: None,
            title: None,
            description: description.into(),
            in_headers: members_ask_for_headers(&input_schema),
            input_schema: Arc::new(input_schema),
            output_schema: None,
            hints: Hints::default(),
            offer: Offer::Tool,
            asks: Vec::new(),
            lasts: None,
        }
    }

    /// The tool as its checked description has it, by the name `wire`. A schema that is not an object,
    /// which no checked description has, is listed as one that takes any object.
    #[must_use]
    pub fn of(tool: &Tool, wire: String) -> Self {
        let object = |schema: &Value| schema.as_object().cloned();
        let mut listed = Self::new(
            wire,
            tool.description.clone(),
            object(&tool.input_schema).unwrap_or_else(any_object),
        );
        listed.full = Some(tool.name.clone());
        listed.title.clone_from(&tool.title);
        listed.output_schema = tool.output_schema.as_ref().and_then(object).map(Arc::new);
        listed.hints = tool.hints;
        listed.offer = tool.offer.clone();
        listed.asks.clone_from(&tool.asks);
        listed.lasts = tool.lasts;
        listed
    }

    /// Whether agents use it by its name: tools and prompts.
    #[must_use]
    pub(crate) const fn is_named(&self) -> bool {
        matches!(self.offer, Offer::Tool | Offer::Prompt { .. })
    }

    /// Whether the schema asks for arguments to be repeated in headers.
    #[must_use]
    pub const fn in_headers(&self) -> bool {
        self.in_headers
    }
}

fn any_object() -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), Value::from("object"));
    schema
}

fn members_ask_for_headers(members: &Map<String, Value>) -> bool {
    members
        .iter()
        .any(|(key, value)| key == "x-mcp-header" || asks_for_headers(value))
}

// Schemas are checked before, so their depth is bounded.
fn asks_for_headers(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members_ask_for_headers(members),
        Value::Array(items) => items.iter().any(asks_for_headers),
        _ => false,
    }
}
