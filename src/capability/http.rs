//! The `http` capability: requests within a grant, each decided anew.
//!
//! The story of one request is `prepare` (canonicalise, admit into the grant, look for secrets that
//! do not belong there), `send` (decide, record durably, connect) and `finish` (bound and redact the
//! reply). Every step takes what the step before made; what is decided on is what is sent.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{Resource, ResourceTable};

use super::CallContext;
use super::context::wit_error;
use super::credentials::{Place, Wanted, allowed, borrow};
use super::park::Effect;
use super::secrets::Secret;
use super::sign;
use crate::egress::{
    self, Admitted, CheckedRequest, Class, Credential, CredentialScheme, Exchange, Request,
    ScopedRequest,
};
use crate::grant::Grant;
use crate::journal::record::{Event, HostCall, HostCallOutcome, HostCallRef, SecretUse};
use crate::policy::{Checked, Fact, HostAction, HostQuestion, Target};
use crate::reason::{Kind, Reason, Refusal};
use crate::runtime::bindings::http as wit;
use crate::runtime::bindings::types;
use crate::runtime::{CallState, Ending};
use crate::secret::{Lent, aside};
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

/// A request as policy decides on it.
#[derive(Debug)]
pub(super) struct Outgoing {
    request: ScopedRequest,
    origin: String,
    requirement: String,
    secrets: Vec<SecretUse>,
    sent_before: u32,
}

impl HostQuestion for Outgoing {
    fn action(&self) -> HostAction {
        HostAction::Http
    }

    fn target(&self) -> Target<'_> {
        Target::Origin(&self.origin)
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        let url = self.request.url();
        let origin = url.origin();
        let text = |text: &str| Fact::Text(text.to_owned());
        vec![
            ("method", text(self.request.method().as_str())),
            ("path", text(url.path())),
            ("scheme", text(origin.scheme().as_str())),
            ("host", Fact::Text(origin.host().to_string())),
            ("port", Fact::Whole(origin.port().into())),
            ("requirement", text(&self.requirement)),
            ("query", Fact::Truth(url.query().is_some())),
            (
                "body_bytes",
                Fact::Whole(i64::try_from(self.request.body().len()).unwrap_or(i64::MAX)),
            ),
            ("secrets", Fact::Texts(names(&self.secrets))),
            ("http_calls", Fact::Whole(self.sent_before.into())),
        ]
    }
}

impl CheckedRequest for Checked<Outgoing> {
    fn into_scoped(self) -> ScopedRequest {
        self.into_inner().0.request
    }
}

/// A connection to an address that is not public, as policy decides on it.
#[derive(Debug)]
struct Dial {
    address: std::net::IpAddr,
    origin: String,
    host: String,
    port: u16,
}

impl HostQuestion for Dial {
    fn action(&self) -> HostAction {
        HostAction::Connect
    }

    fn target(&self) -> Target<'_> {
        Target::Origin(&self.origin)
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![
            ("address", Fact::Address(self.address)),
            ("port", Fact::Whole(self.port.into())),
            ("host", Fact::Text(self.host.clone())),
        ]
    }
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

/// The canonical request within its grant, with nothing in it that was lent.
async fn admitted(
    context: &CallContext,
    requirement: &str,
    request: &mut wit::Request,
) -> Result<ScopedRequest, Refusal> {
    let grant = context.grant(requirement);
    let Some(Grant::Http(scope)) = grant.as_deref() else {
        return Err(Refusal::new(
            Reason::GrantAbsent,
            "this call was not granted that requirement",
        ));
    };
    let limits = context.limits.http;
    let body = request.body.take().unwrap_or_default();
    let canonical = Request::parse(
        &request.method,
        &request.url,
        &request.headers,
        body,
        &limits,
    )?;
    let scoped = scope.admit(canonical)?;
    // A value that the plugin was shown, or guessed, has no business in what it writes itself.
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let url = scoped.url().to_string();
    if let Some(found) = context.lent.finds_in_head(&url, headers) {
        return Err(found.into());
    }
    let body = scoped.body().clone();
    let search = move |lent: &Lent| lent.finds_in_body(&body);
    match aside(&context.lent, scoped.body().len(), search).await? {
        Some(found) => Err(found.into()),
        None => Ok(scoped),
    }
}

/// The request with the values that go along, each of them allowed.
fn prepare(
    table: &ResourceTable,
    context: &CallContext,
    requirement: &str,
    scoped: ScopedRequest,
    headers: &[(String, String)],
    credentials: Vec<wit::Credential>,
) -> Result<(Outgoing, Vec<Wanted>), Refusal> {
    let to = scoped.url().origin();
    let mut secrets = Vec::new();
    let mut wanted = Vec::new();
    for credential in credentials {
        let secret: &Secret = table.get(&credential.secret).map_err(|error| {
            Refusal::new(Reason::SecretNotGranted, "not a secret of this call")
                .with_detail(error.to_string())
        })?;
        let (place, said) = match credential.scheme {
            wit::Scheme::Bearer => (Place::Scheme(CredentialScheme::Bearer), "bearer"),
            wit::Scheme::Basic(user) => (Place::Scheme(CredentialScheme::Basic(user)), "basic"),
            wit::Scheme::Header(name) => (Place::Scheme(CredentialScheme::Header(name)), "header"),
            wit::Scheme::Query(name) => (Place::Scheme(CredentialScheme::Query(name)), "query"),
            wit::Scheme::Sign(wit::Signing::AwsSigv4(scope)) => {
                sign::check(&scope)?;
                (Place::Sign(scope), "sign")
            }
        };
        let (allowed, used) = allowed(context, &secret.name, to, said, &place)?;
        secrets.push(used);
        wanted.push(Wanted {
            allowed,
            place,
            said,
        });
    }
    // Anywhere but in a header for credentials a placeholder is only a random text.
    let bound = to.to_string();
    for (header, value) in headers {
        let names = context
            .placeholders
            .names(&bound, header, value.as_bytes())?;
        for name in names {
            let place = Place::Within(header.clone(), value.clone());
            let said = "placeholder";
            let (allowed, used) = allowed(context, &name, to, said, &place)?;
            secrets.push(used);
            wanted.push(Wanted {
                allowed,
                place,
                said,
            });
        }
    }
    // Whatever else went in after the signature was made would break it, or not be signed.
    let signs = wanted
        .iter()
        .any(|wanted| matches!(wanted.place, Place::Sign(_)));
    if signs && wanted.len() > 1 {
        return Err(Refusal::new(
            Reason::EgressRequestInvalid,
            "a request that is signed takes no other credential",
        ));
    }
    let outgoing = Outgoing {
        origin: to.to_string(),
        requirement: requirement.to_owned(),
        secrets,
        sent_before: context.requests(),
        request: scoped,
    };
    Ok((outgoing, wanted))
}

/// The secrets' names, as policy and the record have them.
fn names(secrets: &[SecretUse]) -> Vec<String> {
    secrets.iter().map(|used| used.secret.clone()).collect()
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
