//! The handler of every revision of the protocol: lists tools and passes calls to the host.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::request::Parts;
use bytes::Bytes;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest,
    CustomResult, ErrorCode, Implementation, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ProgressToken, ServerCapabilities, ServerConfig, SubscriptionFilter,
    ToolAnnotations,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::backend::{Backend, ListedTool};
use super::held::Seals;
use super::page::{PAGE, page};
use super::promised;
use super::result::result_of;
use crate::call::{Arrival, Progress, ProgressSink, Reply};
use crate::id::TaskId;
use crate::identity::Authenticated;
use crate::journal::record::Caller;
use crate::telemetry::TraceParent;

/// How long a client may keep a list of tools. It is told of changes; this is for when it is not.
const LIST_TTL_MS: u64 = 5_000;

/// How long a cancelled call may take to end before its request is given up. The call goes on to
/// its recorded end all the same.
const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// How long the last reports of progress may take to be written.
const PROGRESS_GRACE: Duration = Duration::from_secs(1);

/// What the handlers of one transport share.
pub(super) struct Shared {
    pub(super) backend: Arc<dyn Backend>,
    /// The calls that have not ended.
    pub(super) calls: TaskTracker,
    transport: &'static str,
    info: ServerConfig,
    pub(super) server_info: Value,
    pub(super) seals: Seals,
}

impl Shared {
    pub(super) fn new(backend: Arc<dyn Backend>, transport: &'static str) -> Arc<Self> {
        let implementation = Implementation::new("tollgate", env!("CARGO_PKG_VERSION"));
        let mut server_info = serde_json::Map::new();
        server_info.insert("name".to_owned(), implementation.name.clone().into());
        server_info.insert("version".to_owned(), implementation.version.clone().into());
        let info = ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_tool_list_changed()
                .build(),
        )
        .with_server_info(implementation);
        Arc::new(Self {
            backend,
            calls: TaskTracker::new(),
            transport,
            info,
            server_info: Value::Object(server_info),
            seals: Seals::new(),
        })
    }

    /// What goes to the host of a call, whichever way it took through the protocol.
    pub(super) fn arrival(
        &self,
        arrived: &Arrived,
        tool: String,
        client: Option<&Implementation>,
        task: Option<TaskId>,
    ) -> Arrival {
        Arrival {
            caller: Caller {
                agent: arrived.who.agent.clone(),
                user: arrived.who.user.clone(),
                transport: self.transport.to_owned(),
                client: client.map(client_name),
                task,
                chain: arrived.who.chain.clone(),
            },
            tool,
            arguments: arrived.arguments.clone(),
            credential: Some(arrived.who.clone()),
            approval: None,
            progress: None,
            trace: None,
        }
    }

    /// What goes back to the client, whichever way the call took through the protocol.
    pub(super) fn result(&self, reply: Reply, tool: &str) -> Result<CallToolResult, ErrorData> {
        let result = result_of(reply, tool, &self.server_info)?;
        Ok(promised::fitting(result, || self.backend.tool(tool)))
    }
}

/// What the client calls itself: for the record, never for a decision.
fn client_name(client: &Implementation) -> String {
    let shown =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(64).collect() };
    format!("{} {}", shown(&client.name), shown(&client.version))
}

/// What the transport knows of a request, beside its text.
#[derive(Clone)]
pub(super) struct Arrived {
    pub(super) who: Arc<Authenticated>,
    /// The task that the transport named: a header, the credential, or the session's own.
    pub(super) task: Option<TaskId>,
    /// The text of a call's arguments.
    pub(super) arguments: Bytes,
    /// Keeps the request's id taken until it is answered.
    pub(super) _slot: Option<Arc<dyn Send + Sync>>,
}

/// Serves one session, or one request of the stateless revision.
pub(super) struct Handler {
    pub(super) shared: Arc<Shared>,
    /// Cancelled when the session is about to end, so that subscriptions end in order.
    ending: CancellationToken,
    /// Ends the watch of an older session when the session is dropped.
    watch: OnceLock<DropGuard>,
}

impl Handler {
    pub(super) fn new(shared: Arc<Shared>, ending: CancellationToken) -> Self {
        Self {
            shared,
            ending,
            watch: OnceLock::new(),
        }
    }

    /// Hands a call to the host, as often as it comes.
    pub(super) async fn carry_out(
        &self,
        arrived: &Arrived,
        tool: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<Reply, ErrorData> {
        let task = task_of(arrived, context)?;
        let (sink, reports) = progress(context);
        let client = context.client_info();
        let arrival = Arrival {
            approval: named(context, "dev.tollgate/approval"),
            progress: sink,
            trace: parent_of(|key| context.meta.get(key)),
            ..self
                .shared
                .arrival(arrived, tool.to_owned(), client.as_ref(), task)
        };
        self.run(arrival, context, reports).await
    }

    async fn run(
        &self,
        arrival: Arrival,
        context: &RequestContext<RoleServer>,
        reports: Option<(ProgressToken, mpsc::Receiver<Progress>)>,
    ) -> Result<Reply, ErrorData> {
        let held = self.shared.calls.token();
        let cancel = CancellationToken::new();
        // Whatever drops this future drops the call with it; then it must know.
        let guard = cancel.clone().drop_guard();
        let mut call = self.shared.backend.clone().call(arrival, cancel.clone());

        let ended = CancellationToken::new();
        let forward = forward(reports, context.peer.clone(), ended.clone());
        tokio::pin!(forward);
        let mut forwarding = true;
        let grace = tokio::time::sleep(Duration::MAX);
        tokio::pin!(grace);
        let mut cancelled = false;
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut call => break Some(reply),
                () = context.ct.cancelled(), if !cancelled => {
                    cancelled = true;
                    cancel.cancel();
                    grace.as_mut().reset(tokio::time::Instant::now() + CANCEL_GRACE);
                }
                () = &mut grace, if cancelled => break None,
                () = &mut forward, if forwarding => forwarding = false,
            }
        };
        guard.disarm();
        let Some(reply) = reply else {
            tracing::warn!("a cancelled call did not end in time; its request is given up");
            self.shared.calls.spawn(async move {
                let _reply = call.await;
                drop(held);
            });
            return Err(ErrorData::internal_error(
                "the call was cancelled and has not ended yet",
                None,
            ));
        };
        ended.cancel();
        if forwarding && !cancelled {
            // A report that can't be written keeps no reply back.
            let _ = tokio::time::timeout(PROGRESS_GRACE, forward).await;
        }
        Ok(reply)
    }
}

/// Sends reports in order, each further than the one before, until the call has ended.
async fn forward(
    reports: Option<(ProgressToken, mpsc::Receiver<Progress>)>,
    peer: Peer<RoleServer>,
    ended: CancellationToken,
) {
    let Some((token, mut reports)) = reports else {
        return;
    };
    let mut last = f64::NEG_INFINITY;
    loop {
        let report = tokio::select! {
            biased;
            report = reports.recv() => report,
            () = ended.cancelled() => {
                reports.close();
                reports.recv().await
            }
        };
        let Some(report) = report else { return };
        if !report.value.is_finite() || report.value <= last {
            continue;
        }
        last = report.value;
        let mut note = ProgressNotificationParam::new(token.clone(), report.value);
        note.total = report.total.filter(|total| total.is_finite());
        note.message = report.message;
        if peer.notify_progress(note).await.is_err() {
            return;
        }
    }
}

/// Reports that wait to be written; more are dropped, since only the latest matter.
const REPORTS: usize = 16;

/// The trace that the client says a call is a part of, by members of `_meta`.
pub(super) fn parent_of<'a>(member: impl Fn(&str) -> Option<&'a Value>) -> Option<TraceParent> {
    let text = |key: &str| member(key).and_then(Value::as_str);
    TraceParent::read(text("traceparent")?, text("tracestate"))
}

/// A text that the client put into `_meta`. It names something; it never gives anything.
fn named(context: &RequestContext<RoleServer>, key: &str) -> Option<String> {
    let text = context.meta.get(key)?.as_str()?;
    Some(text.chars().take(128).collect())
}

fn progress(
    context: &RequestContext<RoleServer>,
) -> (
    Option<ProgressSink>,
    Option<(ProgressToken, mpsc::Receiver<Progress>)>,
) {
    match context.meta.get_progress_token() {
        None => (None, None),
        Some(token) => {
            let (sender, receiver) = mpsc::channel(REPORTS);
            let sink = ProgressSink(Arc::new(move |report| {
                let _ = sender.try_send(report);
            }));
            (Some(sink), Some((token, receiver)))
        }
    }
}

fn arrived(context: &RequestContext<RoleServer>) -> Result<&Arrived, ErrorData> {
    context
        .extensions
        .get::<Parts>()
        .and_then(|parts| parts.extensions.get::<Arrived>())
        .or_else(|| context.extensions.get::<Arrived>())
        .ok_or_else(|| {
            tracing::error!("a request came without an agent");
            ErrorData::internal_error("no agent", None)
        })
}

/// The key of `_meta` that names a task.
const TASK: &str = "dev.tollgate/task";

/// The task that a request names, in `_meta` or by its transport. It selects among the agent's own
/// tasks, no more.
fn task_of(
    arrived: &Arrived,
    context: &RequestContext<RoleServer>,
) -> Result<Option<TaskId>, ErrorData> {
    let wrong = |what: &'static str| ErrorData::invalid_params(what, None);
    let Some(named) = context.meta.0.get(TASK) else {
        return Ok(arrived.task);
    };
    let named: TaskId = named
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| wrong("`dev.tollgate/task` is no identifier of a task"))?;
    match arrived.task {
        Some(task) if task != named => Err(wrong("the request names two tasks")),
        _ => Ok(Some(named)),
    }
}

fn to_rmcp(tool: &ListedTool) -> rmcp::model::Tool {
    let mut out = rmcp::model::Tool::new(
        tool.name.clone(),
        tool.description.clone(),
        tool.input_schema.clone(),
    );
    out.title.clone_from(&tool.title);
    out.output_schema.clone_from(&tool.output_schema);
    let hints = tool.hints;
    out.annotations = Some(ToolAnnotations::from_raw(
        None,
        Some(hints.read_only),
        Some(hints.destructive),
        Some(hints.idempotent),
        Some(hints.open_world),
    ));
    out
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.shared.info.clone()
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.shared.backend.tool(name).map(|tool| to_rmcp(&tool))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let arrived = arrived(&context)?;
        let task = task_of(arrived, &context)?;
        let tools = self.shared.backend.tools(&arrived.who, task);
        let cursor = request.and_then(|request| request.cursor);
        let (shown, next_cursor) = page(&tools, |tool| &tool.name, cursor.as_deref(), PAGE)?;
        let mut result = ListToolsResult {
            tools: shown.iter().map(|tool| to_rmcp(tool)).collect(),
            next_cursor,
            ..Default::default()
        };
        // What one agent sees is nobody else's to read.
        result = result
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arrived = arrived(&context)?;
        let tool = request.name.clone().into_owned();
        let response = self.call_or_ask(&request, arrived, &tool, &context).await?;
        Ok(match response {
            CallToolResponse::Complete(result) => {
                let listed = || self.shared.backend.tool(&tool);
                CallToolResponse::Complete(promised::fitting(result, listed))
            }
            asks => asks,
        })
    }

    /// Older sessions are told of changes without asking.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let life = self.ending.child_token();
        if self.watch.set(life.clone().drop_guard()).is_err() {
            return;
        }
        let mut changes = self.shared.backend.tools_changed();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = life.cancelled() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
                tokio::select! {
                    () = life.cancelled() => return,
                    sent = context.peer.notify_tool_list_changed() => if sent.is_err() { return },
                }
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        // `rmcp` cuts it down to what `get_info` advertises: changes of the list of tools.
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.shared.backend.tools_changed();
        let draining = self.shared.backend.draining();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = self.ending.cancelled() => return Ok(()),
                () = draining.cancelled() => return Ok(()),
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
            }
            if context.sink().notify_tool_list_changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// `rmcp` brings a known method here when its parameters are malformed.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        const KNOWN: [&str; 9] = [
            "initialize",
            "server/discover",
            "ping",
            "tools/list",
            "tools/call",
            "subscriptions/listen",
            "completion/complete",
            "resources/list",
            "prompts/list",
        ];
        if KNOWN.contains(&request.method.as_str()) {
            return Err(ErrorData::invalid_params("malformed parameters", None));
        }
        Err(ErrorData::new(
            ErrorCode::METHOD_NOT_FOUND,
            "no such method",
            None,
        ))
    }
}
