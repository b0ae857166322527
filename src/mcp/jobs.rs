//! Jobs in the words of the protocol's extension for tasks (`io.modelcontextprotocol/tasks`): how one is
//! answered, asked for, answered in its turn and cancelled.
//!
//! Only a client of the stateless revision that declares the extension meets any of it. Whose a job is, is
//! what the transport established; of another's, and of one whose time is over, there is none.

use rmcp::model::{
    CancelTaskParams, ClientCapabilities, CreateTaskResult, DetailedTask, ErrorCode, GetTaskParams,
    GetTaskResult, InputRequest, InputRequests, JsonObject, MetaObject, Task, TaskPayload,
    TaskStatus, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use super::answers::answers;
use super::arrived::{Arrived, arrived, is_stateless};
use super::seal;
use super::server::Handler;
use crate::clock::rfc3339;
use crate::job::{JobId, Jobs, Shown, Status};
use crate::plugin::QuestionKind;
use crate::reason::{Reason, Refusal};

/// How often a client is told to ask.
const POLL_MS: u64 = 1_000;

/// Whether a client takes a job for an answer.
pub(super) fn has_jobs(capabilities: Option<&ClientCapabilities>) -> bool {
    capabilities.is_some_and(ClientCapabilities::supports_tasks)
}

/// The protocol's own error for a client that has none, where nothing else will do.
pub(super) fn required() -> ErrorData {
    let wanted = ClientCapabilities::builder().enable_tasks().build();
    ErrorData::missing_required_client_capability(wanted)
}

/// The same for another's job and for none.
fn unknown() -> ErrorData {
    let data = json!({"code": Reason::NameUnknown.code()});
    ErrorData::invalid_params("there is no such task", Some(data))
}

fn internal(refusal: &Refusal) -> ErrorData {
    tracing::error!(%refusal, detail = refusal.detail, "a job could not be read");
    ErrorData::internal_error("the state of the task can't be read", None)
}

fn task(shown: &Shown) -> Task {
    let status = match shown.status {
        Status::Completed => TaskStatus::Completed,
        Status::Failed => TaskStatus::Failed,
        Status::Cancelled => TaskStatus::Cancelled,
        // What a person must do elsewhere, its client can do nothing about.
        _ if shown.asked.is_empty() => TaskStatus::Working,
        _ => TaskStatus::InputRequired,
    };
    let ttl = shown.expires.saturating_sub(shown.created).as_millis();
    let mut task = Task::new(
        shown.id.to_string(),
        status,
        rfc3339(shown.created),
        rfc3339(shown.changed),
    )
    .with_ttl_ms(u64::try_from(ttl).unwrap_or(u64::MAX))
    .with_poll_interval_ms(POLL_MS);
    task.status_message.clone_from(&shown.message);
    task
}

/// The answer to a call that runs as a job.
pub(super) fn created(shown: &Shown, meta: MetaObject) -> CreateTaskResult {
    CreateTaskResult::new(task(shown)).with_meta(meta)
}

/// The answer to a client that asks how far a job is.
fn detailed(shown: &Shown) -> Option<DetailedTask> {
    let body = || -> Option<JsonObject> { serde_json::from_str(shown.body.as_deref()?).ok() };
    let task = task(shown);
    let payload = match task.status {
        TaskStatus::Completed => TaskPayload::Completed { result: body()? },
        TaskStatus::Failed => TaskPayload::Failed { error: body()? },
        TaskStatus::Cancelled => TaskPayload::Cancelled,
        TaskStatus::InputRequired => {
            let mut input_requests = InputRequests::new();
            for asked in &shown.asked {
                let request: InputRequest = serde_json::from_value(asked.request.clone()).ok()?;
                input_requests.insert(asked.key.clone(), request);
            }
            TaskPayload::InputRequired { input_requests }
        }
        _ => TaskPayload::Working,
    };
    Some(DetailedTask::new(task, payload))
}

/// What a client's answers are held against. What comes of the page of an approval is none.
fn questions(shown: &Shown) -> Vec<seal::Asked> {
    let asked = shown.asked.iter().filter_map(|asked| {
        let kind = asked.kind?;
        let schema = asked.request.pointer("/params/requestedSchema");
        Some(seal::Asked {
            key: asked.key.clone(),
            kind,
            schema: schema.filter(|_| kind == QuestionKind::Form).cloned(),
        })
    });
    asked.collect()
}

type Context = RequestContext<RoleServer>;

impl Handler {
    /// The jobs of this host, if whoever asks may have what is its own.
    fn jobs<'a>(
        &'a self,
        id: &str,
        context: &'a Context,
    ) -> Result<(&'a Jobs, &'a Arrived, JobId), ErrorData> {
        let no_such_method = || ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "no such method", None);
        let backend = &self.shared.backend;
        let jobs = backend
            .jobs()
            .filter(|_| is_stateless(context))
            .ok_or_else(no_such_method)?;
        let arrived = arrived(context)?;
        backend.holds(&arrived.who).map_err(|refusal| {
            let message = format!("{}: {}", refusal.reason.code(), refusal.message);
            let data = json!({"code": refusal.reason.code(), "message": refusal.message});
            ErrorData::new(ErrorCode(-32000), message, Some(data))
        })?;
        let id = id.parse().map_err(|_| unknown())?;
        Ok((jobs, arrived, id))
    }

    async fn shown(&self, id: &str, context: &Context) -> Result<Shown, ErrorData> {
        let (jobs, arrived, id) = self.jobs(id, context)?;
        let found = jobs.get(id, &arrived.who).await;
        found
            .map_err(|refusal| internal(&refusal))?
            .ok_or_else(unknown)
    }

    /// How far a job is, and what came of it.
    pub(super) async fn job(
        &self,
        request: &GetTaskParams,
        context: &Context,
    ) -> Result<GetTaskResult, ErrorData> {
        let shown = self.shown(&request.task_id, context).await?;
        let detailed = detailed(&shown).ok_or_else(|| {
            tracing::error!(job = %shown.id, "what is kept of a job has another form");
            ErrorData::internal_error("the state of the task can't be read", None)
        })?;
        let mut result = GetTaskResult::new(detailed);
        result.meta = Some(self.job_meta(&shown));
        Ok(result)
    }

    pub(super) fn job_meta(&self, shown: &Shown) -> MetaObject {
        super::result::meta_of_job(shown.call, &self.shared.server_info)
    }

    /// Hands a client's answers to its job; what was not asked, or was answered, is left out.
    pub(super) async fn answer_job(
        &self,
        request: &UpdateTaskParams,
        context: &Context,
    ) -> Result<(), ErrorData> {
        let shown = self.shown(&request.task_id, context).await?;
        let mut found = answers(Some(&request.input_responses), Some(&questions(&shown)))?;
        for page in shown.asked.iter().filter(|asked| asked.kind.is_none()) {
            // That it was shown: it is not asked for again, and that is all.
            if request.input_responses.contains_key(&page.key) {
                found.push((page.key.clone(), Value::Null));
            }
        }
        let (jobs, arrived, id) = self.jobs(&request.task_id, context)?;
        jobs.answer(id, &arrived.who, found);
        Ok(())
    }

    /// Cancels a job. That it is over shows when it is asked for again.
    pub(super) async fn cancel_job(
        &self,
        request: &CancelTaskParams,
        context: &Context,
    ) -> Result<(), ErrorData> {
        let shown = self.shown(&request.task_id, context).await?;
        let (jobs, arrived, _) = self.jobs(&request.task_id, context)?;
        jobs.cancel(shown.id, &arrived.who);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::job::Asked;

    fn shown(status: Status, body: Option<&str>) -> Shown {
        Shown {
            id: JobId::generate(&SeededEntropy::default()).unwrap(),
            status,
            message: Some("m".into()),
            call: None,
            created: Duration::from_secs(10),
            changed: Duration::from_secs(11),
            expires: Duration::from_secs(70),
            asked: Vec::new(),
            body: body.map(str::to_owned),
        }
    }

    #[test]
    fn a_job_is_shown_as_the_extension_has_it() {
        let form = json!({"method": "elicitation/create", "params": {
            "mode": "form", "message": "?", "requestedSchema": {"type": "object", "properties": {}}}});
        let mut asking = shown(Status::Asking, None);
        asking.asked = vec![Asked {
            key: "1-a".into(),
            kind: Some(QuestionKind::Form),
            request: form,
        }];
        for (shown, status, member) in [
            (shown(Status::Working, None), "working", None),
            (shown(Status::Held, None), "working", None),
            (asking.clone(), "input_required", Some("inputRequests")),
            (
                shown(Status::Completed, Some(r#"{"content":[]}"#)),
                "completed",
                Some("result"),
            ),
            (
                shown(Status::Failed, Some(r#"{"code":-32603,"message":"m"}"#)),
                "failed",
                Some("error"),
            ),
            (shown(Status::Cancelled, None), "cancelled", None),
        ] {
            let value = serde_json::to_value(detailed(&shown).unwrap()).unwrap();
            assert_eq!(value["status"], status);
            assert_eq!(value["ttlMs"], 60_000);
            assert_eq!(value["createdAt"], "1970-01-01T00:00:10.000Z");
            for other in ["inputRequests", "result", "error"] {
                assert_eq!(
                    value.get(other).is_some(),
                    member == Some(other),
                    "{status}"
                );
            }
        }
        assert!(detailed(&shown(Status::Completed, None)).is_none());
        let asked = questions(&asking);
        assert_eq!(asked[0].kind, QuestionKind::Form);
        assert!(asked[0].schema.is_some());
    }
}
