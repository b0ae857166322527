//! The `http` capability: requests within a grant, each decided anew.
//!
//! The story of one request is `prepare` (canonicalise, admit into the grant, look for secrets that
//! do not belong there), `send` (decide, record durably, connect) and `finish` (bound and redact the
//! reply). Every step takes what the step before made; what is decided on is what is sent.

mod prepare;
mod question;

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::Resource;

use self::prepare::{admitted, prepare};
use self::question::{Dial, Outgoing, names};
use super::CallContext;
use super::context::wit_error;
use super::credentials::{Wanted, allowed, borrow};
use super::park::Effect;
use crate::egress::{self, Admitted, Class, Credential, Exchange};
use crate::grant::Grant;
use crate::journal::record::{Event, HostCall, HostCallOutcome, HostCallRef};
use crate::policy::Checked;
use crate::reason::{Kind, Reason, Refusal};
use crate::runtime::bindings::http as wit;
use crate::runtime::bindings::types;
use crate::runtime::{CallState, Ending};
use crate::secret::aside;
use crate::tape::Function;
use crate::task::OnTask;
use crate::telemetry::Stage;

/// The right to send requests within one requirement, for this call. Only its name: the grant
/// itself stays in the context.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "bindgen re-exports it")]
pub struct Origin {
    pub(super) requirement: String,
}

impl wit::Host for CallState {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Origin>, types::Error>> {
        let asked = self.asks(Function::HttpOpen, |fields, _| fields.text("name", &name));
        let opened: Result<Origin, types::Error> = match asked? {
            Some(answer) => answer,
            None => {
                let answer = self.open_origin(name);
                self.answers(answer)?
            }
        };
        match opened {
            Ok(handle) => Ok(Ok(self.handles().push(handle)?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl CallState {
    fn open_origin(&mut self, name: String) -> wasmtime::Result<Result<Origin, types::Error>> {
        let (_, context) = self.parts()?;
        context.count("http", name.len())?;
        if matches!(context.grant(&name).as_deref(), Some(Grant::Http(_))) {
            return Ok(Ok(Origin { requirement: name }));
        }
        let reference = context.reference("http", &name);
        let refusal = Refusal::new(
            Reason::GrantAbsent,
            "this call was not granted a requirement of that name",
        );
        Ok(Err(context.refuse(reference, refusal)?))
    }
}

impl wit::HostOrigin for CallState {
    async fn send(
        &mut self,
        origin: Resource<Origin>,
        request: wit::Request,
        credentials: Vec<wit::Credential>,
    ) -> wasmtime::Result<Result<wit::Response, types::Error>> {
        let requirement = self.handles().get(&origin)?.requirement.clone();
        let asked = self.asks(Function::HttpSend, |fields, table| {
            super::taped::request(fields, table, &requirement, &request, &credentials);
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.sending(requirement, request, credentials).await;
        self.answers(answer)
    }

    fn drop(&mut self, origin: Resource<Origin>) -> wasmtime::Result<()> {
        self.handles().delete(origin)?;
        Ok(())
    }
}

impl CallState {
    async fn sending(
        &mut self,
        requirement: String,
        mut request: wit::Request,
        credentials: Vec<wit::Credential>,
    ) -> wasmtime::Result<Result<wit::Response, types::Error>> {
        let (_, context) = self.parts()?;
        let size = request.url.len()
            + request
                .headers
                .iter()
                .map(|(n, v)| n.len() + v.len())
                .sum::<usize>()
            + request.body.as_ref().map_or(0, Vec::len);
        context.count("http", size)?;
        // What is written down where the text is no URL: the text itself, cut and escaped.
        let reference = context.reference("http", &request.url);
        let scoped = admitted(context, &requirement, &mut request).await;
        // The table of handles is not held while waiting.
        let (table, context) = self.parts()?;
        let prepared = scoped.and_then(|scoped| {
            prepare(
                table,
                context,
                &requirement,
                scoped,
                &request.headers,
                credentials,
            )
        });
        let sent = match prepared {
            Ok((outgoing, wanted)) => send(context, &reference, outgoing, wanted).await?,
            Err(refusal) => Err(Unsent::Refused(refusal)),
        };
        match sent {
            Ok(response) => Ok(Ok(response)),
            Err(Unsent::Refused(refusal)) => Ok(Err(context.refuse(reference, refusal)?)),
            Err(Unsent::Failed(error)) => Ok(Err(error)),
        }
    }
}

/// Why there is no response.
enum Unsent {
    /// Refused: it has no record yet.
    Refused(Refusal),
    /// Allowed, tried and failed: its outcome says so already.
    Failed(types::Error),
}

/// One request. The outer error ends the instance, the inner one is the guest's to see.
async fn send(
    context: &mut CallContext,
    reference: &HostCallRef,
    outgoing: Outgoing,
    wanted: Vec<Wanted>,
) -> wasmtime::Result<Result<wit::Response, Unsent>> {
    let mut limits = context.limits.http;
    // What the task has no room for need not be carried here.
    if let Some(left) = context.facts.task.as_ref().and_then(OnTask::bytes_left) {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        limits.response_body = limits.response_body.min(left);
    }
    let deciding = context.facts.trace.begin(Stage::Decision);
    let agreed = context.agree(outgoing, effect, reference).await;
    deciding.decided(agreed.as_ref().map(|(checked, _)| checked.ground()));
    let checked = match agreed {
        Ok((checked, false)) => checked,
        // A person took time: whether the secrets may go along is decided as things are now.
        Ok((checked, true)) => match allowed_still(context, &checked, &wanted) {
            Ok(()) => checked,
            Err(refusal) => return Ok(Err(Unsent::Refused(refusal))),
        },
        Err(refusal) => return Ok(Err(Unsent::Refused(refusal))),
    };

    // INVARIANT: on the disk before the first byte leaves, the look-up of the name included.
    let began = Instant::now();
    let position = context.record(&intent(context, reference, &checked))?;
    let durable = context.services.journal.durable(position);
    durable
        .await
        .map_err(|error| Ending::from(Refusal::from(error)))?;
    if let Some(task) = &context.facts.task {
        task.settle().await.map_err(Ending::from)?;
    }
    // Both waited for the disk: what was revoked in the meantime sends nothing.
    context.in_force()?;
    let loans = match borrow(context, &wanted, &checked.get().request).await {
        Ok(loans) => loans,
        Err(refusal) => return finish(context, reference, unsent(refusal), began).await,
    };
    // And so did a source of secrets, perhaps.
    context.in_force()?;
    context.requested();

    let services = Arc::clone(&context.services);
    let origin = checked.get().request.url().origin().clone();
    let deciding = &*context;
    let may_dial = |address, _: Class| {
        let dial = Dial {
            address,
            origin: origin.to_string(),
            host: origin.host().to_string(),
            port: origin.port(),
        };
        deciding.decide(dial).is_ok()
    };
    let credentials: Vec<Credential<'_>> = loans
        .iter()
        .map(|loan| Credential::new(&loan.scheme, loan.value.expose()))
        .collect();
    let exchange = services
        .outbound
        .send(
            Admitted::from_checked(checked),
            &credentials,
            &may_dial,
            &limits,
        )
        .await;
    finish(context, reference, exchange, began).await
}

/// What a person reads of a request: the very one that is decided on.
fn effect(outgoing: &Outgoing) -> Effect {
    let request = &outgoing.request;
    Effect::http(
        request.method().as_str(),
        &request.url().to_string(),
        request.body(),
        request.body_digest(),
    )
}

/// Decides again on each secret that goes along. None was lent yet.
fn allowed_still(
    context: &CallContext,
    checked: &Checked<Outgoing>,
    wanted: &[Wanted],
) -> Result<(), Refusal> {
    let to = checked.get().request.url().origin();
    for wanted in wanted {
        allowed(
            context,
            &wanted.allowed.name,
            to,
            wanted.said,
            &wanted.place,
        )?;
    }
    Ok(())
}

/// An exchange that did not begin.
fn unsent(refusal: Refusal) -> Exchange {
    Exchange {
        result: Err(refusal),
        trace: egress::Trace::default(),
    }
}

fn intent(context: &CallContext, reference: &HostCallRef, checked: &Checked<Outgoing>) -> Event {
    let Outgoing {
        request, secrets, ..
    } = checked.get();
    Event::HostCall(HostCall {
        call: context.facts.call,
        host_call: HostCallRef {
            target: request.url().to_string(),
            ..reference.clone()
        },
        method: Some(request.method().as_str().to_owned()),
        bytes_out: request.body().len() as u64,
        body: (!request.body().is_empty()).then(|| request.body_digest()),
        secrets: names(secrets),
        secret_uses: secrets.clone(),
        decision: checked.ground().clone(),
    })
}

/// Records how it ended, and hands the reply on within its bounds.
async fn finish(
    context: &mut CallContext,
    reference: &HostCallRef,
    exchange: Exchange,
    began: Instant,
) -> wasmtime::Result<Result<wit::Response, Unsent>> {
    let Exchange { result, trace } = exchange;
    let (status, reason) = match &result {
        Ok(_) => ("ok", None),
        // A refusal has a record of its own, which carries the reason.
        Err(refusal) if refusal.reason.kind() == Kind::Refused => ("refused", None),
        Err(refusal) => ("failed", Some(refusal.reason)),
    };
    context.record(&Event::HostCallOutcome(HostCallOutcome {
        call: context.facts.call,
        number: reference.number,
        status: status.to_owned(),
        reason,
        detail: match &result {
            Err(refusal) if reason.is_some() => refusal.detail.clone(),
            _ => None,
        },
        http_status: result.as_ref().ok().map(|response| response.status),
        address: trace.address.map(|address| address.to_string()),
        bytes_in: trace.bytes_in,
        duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
    }))?;
    let response = match result {
        Ok(response) => response,
        Err(refusal) if reason.is_none() => return Ok(Err(Unsent::Refused(refusal))),
        Err(refusal) => return Ok(Err(Unsent::Failed(wit_error(&refusal)))),
    };
    context.charge(response.body.len())?;
    // An origin may echo what it was sent.
    let headers = response
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value);
            (name.clone(), context.lent.redact(&value).0.into_owned())
        })
        .collect();
    let (status, body) = (response.status, response.body);
    let clean = aside(&context.lent, body.len(), move |lent| {
        let (clean, count) = lent.redact_bytes(&body);
        let clean = (count > 0).then(|| clean.into_owned());
        clean.unwrap_or(body)
    });
    Ok(Ok(wit::Response {
        status,
        headers,
        body: clean.await.map_err(Ending::from)?,
    }))
}
