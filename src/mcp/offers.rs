//! Prompts, resources and completion: listed like tools, called like tools, written in their own form.
//!
//! What is refused is an error of the protocol, since their results have no word for it; its data says what
//! a tool's result would.

use bytes::Bytes;
use rmcp::model::{
    CacheScope, CompleteRequestParams, CompleteResult, GetPromptRequestParams, GetPromptResponse,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams,
    Prompt, PromptArgument, ReadResourceRequestParams, ReadResourceResponse, Reference, Resource,
    ResourceTemplate,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::arrived::{arrived, is_stateless, task_of};
use super::backend::{Completed, ListedTool};
use super::declared;
use super::page::page;
use super::result;
use super::rounds::{Answered, Request};
use super::server::{Handler, LIST_TTL_MS};
use super::work::no_job;
use crate::call::Reply;
use crate::limits::protocol::PAGE;
use crate::plugin::{Kind, Offer};

type Context = RequestContext<RoleServer>;

/// A page of what `wanted` makes of what is offered, and the next one's cursor.
type Listed<T> = (Vec<T>, Option<String>);

/// What tells an offer from all others of its list: resources of two plugins may have one name.
fn place(offer: &ListedTool) -> &str {
    match &offer.offer {
        Offer::Resource { uri, .. } => uri,
        Offer::Template { template, .. } => template,
        Offer::Tool | Offer::Prompt { .. } | Offer::Completion => &offer.name,
    }
}

impl Handler {
    fn listed<T>(
        &self,
        request: Option<PaginatedRequestParams>,
        context: &Context,
        kind: Kind,
        wanted: impl Fn(&ListedTool) -> Option<T>,
    ) -> Result<Listed<T>, ErrorData> {
        let arrived = arrived(context)?;
        let task = task_of(arrived, context)?;
        let mut offered = self.shared.backend.offers(&arrived.who, task, kind);
        offered.retain(|offer| wanted(offer).is_some());
        offered.sort_by(|a, b| place(a).cmp(place(b)));
        let cursor = request.and_then(|request| request.cursor);
        let (shown, next) = page(&offered, |offer| place(offer), cursor.as_deref(), PAGE)?;
        let shown = shown.iter().filter_map(|offer| wanted(offer));
        Ok((shown.collect(), next))
    }

    pub(super) fn prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: &Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        let (prompts, next_cursor) = self.listed(request, context, Kind::Prompt, prompt)?;
        let mut result = ListPromptsResult::with_all_items(prompts);
        result.next_cursor = next_cursor;
        // What one agent sees is nobody else's to read.
        Ok(result
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    pub(super) fn resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: &Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        let (resources, next_cursor) = self.listed(request, context, Kind::Resource, resource)?;
        let mut result = ListResourcesResult::with_all_items(resources);
        result.next_cursor = next_cursor;
        Ok(result
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    pub(super) fn templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: &Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let (templates, next_cursor) = self.listed(request, context, Kind::Resource, template)?;
        let mut result = ListResourceTemplatesResult::with_all_items(templates);
        result.next_cursor = next_cursor;
        Ok(result
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    pub(super) async fn prompt(
        &self,
        request: &GetPromptRequestParams,
        context: &Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = request
            .arguments
            .as_ref()
            .map_or_else(Bytes::new, |arguments| {
                Bytes::from(Value::Object(arguments.clone()).to_string())
            });
        let asked = Request {
            kind: Kind::Prompt,
            name: request.name.clone(),
            arguments,
            responses: request.input_responses.as_ref(),
            state: request.request_state.as_deref(),
        };
        let arrived = arrived(context)?;
        match self.in_rounds(&asked, arrived, context).await? {
            Answered::Asks(asks) => Ok(GetPromptResponse::InputRequired(asks)),
            Answered::Lasts(_) => Err(no_job()),
            Answered::Complete(reply) => self
                .lacks(&reply, context)
                .and_then(|()| result::prompt_of(reply, &asked.name, &self.shared.server_info))
                .map(GetPromptResponse::Complete),
        }
    }

    pub(super) async fn resource(
        &self,
        request: &ReadResourceRequestParams,
        context: &Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let asked = Request {
            kind: Kind::Resource,
            name: request.uri.clone(),
            arguments: Bytes::new(),
            responses: request.input_responses.as_ref(),
            state: request.request_state.as_deref(),
        };
        let arrived = arrived(context)?;
        match self.in_rounds(&asked, arrived, context).await? {
            Answered::Asks(asks) => Ok(ReadResourceResponse::InputRequired(asks)),
            Answered::Lasts(_) => Err(no_job()),
            Answered::Complete(reply) => self
                .lacks(&reply, context)
                .and_then(|()| result::resource_of(reply, &asked.name, &self.shared.server_info))
                .map(ReadResourceResponse::Complete),
        }
    }

    pub(super) async fn completion(
        &self,
        request: &CompleteRequestParams,
        context: &Context,
    ) -> Result<CompleteResult, ErrorData> {
        let arrived = arrived(context)?;
        let task = task_of(arrived, context)?;
        let (of, named) = match &request.r#ref {
            Reference::Prompt(prompt) => (Completed::Prompt(&prompt.name), &prompt.name),
            Reference::Resource(template) => (Completed::Template(&template.uri), &template.uri),
            _ => return Err(ErrorData::invalid_params("malformed parameters", None)),
        };
        let found = self.shared.backend.completes(&arrived.who, task, of);
        let found = found.map_err(|_| result::unknown_offer(named, None))?;
        // A plugin that completes nothing is asked nothing.
        let Some((name, of)) = found else {
            return Ok(CompleteResult::default());
        };
        let known: Map<String, Value> = request
            .context
            .iter()
            .filter_map(|context| context.arguments.as_ref())
            .flatten()
            .map(|(name, value)| (name.clone(), Value::from(value.clone())))
            .collect();
        let arguments = json!({
            "of": of,
            "argument": request.argument.name,
            "value": request.argument.value,
            "known": known,
        });
        let asked = Request {
            kind: Kind::Completion,
            name,
            arguments: Bytes::from(arguments.to_string()),
            responses: None,
            state: None,
        };
        let reply = self.carry_out(&asked, None, arrived, context).await?;
        result::completion_of(reply, named, &self.shared.server_info)
    }

    /// The protocol's own error where the client lacks what the call has to ask; older revisions have none,
    /// and get a result that says so.
    pub(super) fn lacks(&self, reply: &Reply, context: &Context) -> Result<(), ErrorData> {
        if !is_stateless(context) {
            return Ok(());
        }
        let offers = declared::offers(context.client_capabilities().as_ref());
        match declared::lacking(reply, &offers) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn prompt(offer: &ListedTool) -> Option<Prompt> {
    let Offer::Prompt { arguments } = &offer.offer else {
        return None;
    };
    let argument = |argument: &crate::plugin::PromptArgument| {
        let mut out = PromptArgument::new(&argument.name).with_required(argument.required);
        out.title.clone_from(&argument.title);
        out.description.clone_from(&argument.description);
        out
    };
    let arguments: Vec<_> = arguments.iter().map(argument).collect();
    let arguments = (!arguments.is_empty()).then_some(arguments);
    let mut out = Prompt::new(&offer.name, Some(&offer.description), arguments);
    out.title.clone_from(&offer.title);
    Some(out)
}

fn resource(offer: &ListedTool) -> Option<Resource> {
    let Offer::Resource {
        uri,
        mime_type,
        size,
    } = &offer.offer
    else {
        return None;
    };
    let mut out = Resource::new(uri, &offer.name).with_description(&offer.description);
    out.title.clone_from(&offer.title);
    out.mime_type.clone_from(mime_type);
    out.size = *size;
    Some(out)
}

fn template(offer: &ListedTool) -> Option<ResourceTemplate> {
    let Offer::Template {
        template,
        mime_type,
    } = &offer.offer
    else {
        return None;
    };
    let mut out = ResourceTemplate::new(template, &offer.name).with_description(&offer.description);
    out.title.clone_from(&offer.title);
    out.mime_type.clone_from(mime_type);
    Some(out)
}
