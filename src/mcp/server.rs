//! The handler of every revision of the protocol: what each method comes to.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams,
    CompleteRequestParams, CompleteResult, CustomRequest, CustomResult, ErrorCode,
    GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig, SubscribeRequestParams, SubscriptionFilter, TASKS_EXTENSION_ID,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::arrived::{Arrived, arrived, client_name, given_up, is_stateless, task_of};
use super::backend::Backend;
use super::changes::{Changes, Subscribed};
use super::page::page;
use super::result::{self, result_of};
use super::rounds::{Answered, Request};
use super::seal::Seals;
use super::{declared, refusal, told, tools};
use crate::call::{Arrival, ClientSide, LogLevel, Reply};
use crate::id::TaskId;
use crate::journal::record::Caller;
use crate::limits::protocol::PAGE;
use crate::plugin::Kind;

/// How long a client may keep a list of tools. It is told of changes; this is for when it is not.
pub(super) const LIST_TTL_MS: u64 = 5_000;

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
        let mut capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        // Lines, for who asks for them.
        capabilities.logging = Some(serde_json::Map::new());
        if backend.jobs().is_some() {
            let extensions = capabilities.extensions.get_or_insert_default();
            extensions.insert(TASKS_EXTENSION_ID.to_owned(), serde_json::Map::new());
        }
        let info = ServerConfig::new(capabilities).with_server_info(implementation);
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
            kind: Kind::Tool,
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
            client: ClientSide::default(),
            round: None,
            job: None,
            trace: None,
        }
    }

    /// What goes back to the client, whichever way the call took through the protocol.
    pub(super) fn result(&self, reply: Reply, tool: &str) -> Result<CallToolResult, ErrorData> {
        // What goes this way offers nothing.
        match declared::lacking(&reply, &[]) {
            Some(error) => Err(error),
            None => self.complete(reply, tool),
        }
    }

    /// What a call gave, in a form that every client takes.
    pub(super) fn complete(&self, reply: Reply, tool: &str) -> Result<CallToolResult, ErrorData> {
        let is_refused = reply.refusal.is_some();
        let result = result_of(reply, tool, &self.server_info)?;
        Ok(if is_refused {
            refusal::told(result, || self.backend.tool(tool))
        } else {
            result
        })
    }
}

/// Serves one session, or one request of the stateless revision.
pub(super) struct Handler {
    pub(super) shared: Arc<Shared>,
    /// Cancelled when the session is about to end, so that subscriptions end in order.
    ending: CancellationToken,
    /// Ends the watch of an older session when the session is dropped.
    watch: OnceLock<DropGuard>,
    /// What an older session asked to be told of.
    pub(super) subscribed: Arc<Subscribed>,
    /// The least of the lines that an older session wants, once it said so.
    pub(super) level: Mutex<Option<LogLevel>>,
}

impl Handler {
    pub(super) fn new(shared: Arc<Shared>, ending: CancellationToken) -> Self {
        Self {
            shared,
            ending,
            watch: OnceLock::new(),
            subscribed: Arc::default(),
            level: Mutex::default(),
        }
    }
}

/// Refuses a method that the stateless revision gave up, where the request is of that.
fn of_a_session(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    if is_stateless(context) {
        return Err(ErrorData::new(
            ErrorCode::METHOD_NOT_FOUND,
            "this revision of the protocol has no such method",
            None,
        ));
    }
    Ok(())
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.shared.info.clone()
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.shared
            .backend
            .tool(name)
            .map(|tool| tools::to_rmcp(&tool))
    }

    async fn ping(&self, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        of_a_session(&context)
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
            tools: shown.iter().map(|tool| tools::to_rmcp(tool)).collect(),
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
        let asked = Request {
            kind: Kind::Tool,
            name: request.name.clone().into_owned(),
            arguments: arrived.arguments.clone(),
            responses: request.input_responses.as_ref(),
            state: request.request_state.as_deref(),
        };
        match self.in_rounds(&asked, arrived, &context).await? {
            Answered::Asks(asks) => Ok(CallToolResponse::InputRequired(asks)),
            Answered::Lasts(task) => Ok(CallToolResponse::Task(task)),
            Answered::Complete(reply) => self
                .lacks(&reply, &context)
                .and_then(|()| self.shared.complete(reply, &asked.name))
                .map(CallToolResponse::Complete),
        }
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        self.prompts(request, &context)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.prompt(&request, &context).await
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.resources(request, &context)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        self.templates(request, &context)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.resource(&request, &context).await
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.completion(&request, &context).await
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.job(&request, &context).await
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.answer_job(&request, &context).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.cancel_job(&request, &context).await
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        of_a_session(&context)?;
        let arrived = arrived(&context)?;
        let task = task_of(arrived, &context)?;
        if !self.shared.backend.reads(&arrived.who, task, &request.uri) {
            return Err(result::no_resource(&request.uri, None));
        }
        self.subscribed.add(request.uri, arrived.who.clone(), task)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        of_a_session(&context)?;
        self.subscribed.remove(&request.uri);
        Ok(())
    }

    #[expect(
        deprecated,
        reason = "the protocol is about to give lines up, and clients of older revisions ask for them"
    )]
    async fn set_level(
        &self,
        request: rmcp::model::SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        of_a_session(&context)?;
        let level = told::level(request.level);
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(level);
        Ok(())
    }

    /// Older sessions are told of changes without asking.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let life = self.ending.child_token();
        if self.watch.set(life.clone().drop_guard()).is_err() {
            return;
        }
        let changes = Changes::of(&self.shared.backend, self.subscribed.clone());
        tokio::spawn(changes.tell_session(context.peer.clone(), life));
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        // `rmcp` cuts it down to what `get_info` advertises.
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let request = context.request_context();
        let arrived = arrived(request)?;
        let task = task_of(arrived, request)?;
        let subscribed = Arc::new(Subscribed::default());
        for uri in context.accepted().resource_subscriptions.iter().flatten() {
            subscribed.add(uri.clone(), arrived.who.clone(), task)?;
        }
        let changes = Changes::of(&self.shared.backend, subscribed);
        let ends = self.shared.backend.clone().ends(arrived.who.clone());
        tokio::select! {
            () = changes.tell_subscription(&context, &self.ending) => {}
            // Also where nothing changes: whoever lost its right listens no more.
            () = ends => {}
            () = given_up(request) => {}
        }
        Ok(())
    }

    /// `rmcp` brings a known method here when its parameters are malformed.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        const KNOWN: [&str; 13] = [
            "tools/list",
            "tools/call",
            "completion/complete",
            "prompts/list",
            "prompts/get",
            "resources/list",
            "resources/templates/list",
            "resources/read",
            "server/discover",
            "subscriptions/listen",
            "tasks/get",
            "tasks/update",
            "tasks/cancel",
        ];
        /// Those that the stateless revision has no more.
        const OLDER: [&str; 5] = [
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
        ];
        let method = request.method.as_str();
        let known = KNOWN.contains(&method) || (OLDER.contains(&method) && !is_stateless(&context));
        if known {
            return Err(ErrorData::invalid_params("malformed parameters", None));
        }
        Err(ErrorData::new(
            ErrorCode::METHOD_NOT_FOUND,
            "no such method",
            None,
        ))
    }
}
