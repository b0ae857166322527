//! The `http` capability: requests within a grant, each decided anew.
//!
//! [`send`] is the story of one request: canonicalise, admit into the grant, look for secrets that
//! do not belong there, decide, record durably, connect, bound and redact the reply. Every step
//! takes what the step before made; what is decided on is what is sent.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{Resource, ResourceTable};

use super::CallContext;
use super::secrets::{Secret, Use};
use crate::egress::{self, Credential, Exchange, Request, Scheme, ScopedRequest};
use crate::grant::Grant;
use crate::journal::record::{Event, HostCall, HostCallOutcome, HostCallRef};
use crate::policy::{Fact, HostAction, HostQuestion, Target};
use crate::reason::{Kind, Reason, Refusal};
use crate::runtime::bindings::http as wit;
use crate::runtime::bindings::types;
use crate::runtime::{CallState, Ending};

/// The right to send requests within one requirement, for this call. Only its name: the grant
/// itself stays in the context.
#[derive(Debug)]
pub(crate) struct Origin {
    requirement: String,
}

/// A request as policy decides on it.
#[derive(Debug)]
pub(super) struct Outgoing {
    request: ScopedRequest,
    origin: String,
    requirement: String,
    secrets: Vec<String>,
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
            ("secrets", Fact::Texts(self.secrets.clone())),
            ("http_calls", Fact::Whole(self.sent_before.into())),
        ]
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
        let (table, context) = self.parts()?;
        context.count("http", name.len())?;
        if matches!(context.grant(&name).as_deref(), Some(Grant::Http(_))) {
            let handle = Origin { requirement: name };
            return Ok(Ok(table.push(handle)?));
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
        let (table, context) = self.parts()?;
        let requirement = table.get(&origin)?.requirement.clone();
        let size = request.url.len()
            + request.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
            + request.body.as_ref().map_or(0, Vec::len);
        context.count("http", size)?;
        // What is written down where the text is no URL: the text itself, cut and escaped.
        let reference = context.reference("http", &request.url);
        match send(table, context, &requirement, &reference, request, credentials).await? {
            Ok(response) => Ok(Ok(response)),
            Err(refusal) => Ok(Err(context.refuse(reference, refusal)?)),
        }
    }

    fn drop(&mut self, origin: Resource<Origin>) -> wasmtime::Result<()> {
        let (table, _) = self.parts()?;
        table.delete(origin)?;
        Ok(())
    }
}

/// One request. The outer error ends the instance, the inner one is the guest's to see.
async fn send(
    table: &ResourceTable,
    context: &mut CallContext,
    requirement: &str,
    reference: &HostCallRef,
    request: wit::Request,
    credentials: Vec<wit::Credential>,
) -> wasmtime::Result<Result<wit::Response, Refusal>> {
    let limits = context.limits.http;
    let prepared = prepare(table, context, requirement, &request, credentials);
    let (outgoing, lent) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (outgoing, ground) = match context.decide(outgoing) {
        Ok(checked) => checked.into_inner(),
        Err(refusal) => return Ok(Err(refusal)),
    };

    // INVARIANT: on the disk before the first byte leaves, the look-up of the name included.
    let began = Instant::now();
    let target = outgoing.request.url().to_string();
    let position = context.record(&Event::HostCall(HostCall {
        call: context.facts.call,
        host_call: HostCallRef {
            target,
            ..reference.clone()
        },
        method: Some(outgoing.request.method().as_str().to_owned()),
        bytes_out: outgoing.request.body().len() as u64,
        body: (!outgoing.request.body().is_empty()).then(|| outgoing.request.body_digest()),
        secrets: outgoing.secrets.clone(),
        decision: ground,
    }))?;
    let durable = context.services.journal.durable(position);
    durable.await.map_err(|error| Ending::from(Refusal::from(error)))?;
    context.requested();

    let services = Arc::clone(&context.services);
    let may_dial = |address| {
        let dial = Dial {
            address,
            origin: outgoing.origin.clone(),
            host: outgoing.request.url().origin().host().to_string(),
            port: outgoing.request.url().origin().port(),
        };
        context.decide(dial).is_ok()
    };
    let exchange = services
        .outbound
        .send(&outgoing.request, &lent, &limits, &may_dial)
        .await;
    finish(context, reference, exchange, began)
}

/// Everything before policy: the canonical request within its grant, and the credentials to go with it.
fn prepare(
    table: &ResourceTable,
    context: &mut CallContext,
    requirement: &str,
    request: &wit::Request,
    credentials: Vec<wit::Credential>,
) -> Result<(Outgoing, Vec<Credential>), Refusal> {
    let grant = context.grant(requirement);
    let Some(Grant::Http(scope)) = grant.as_deref() else {
        return Err(Refusal::new(
            Reason::GrantAbsent,
            "this call was not granted that requirement any more",
        ));
    };
    let limits = context.limits.http;
    let body = request.body.clone().unwrap_or_default();
    let canonical = Request::parse(&request.method, &request.url, &request.headers, body, &limits)?;
    let scoped = scope.admit(canonical)?;
    // A value that the plugin was shown, or guessed, has no business in what it writes itself.
    if context
        .lent
        .finds_in_request(&request.url, &request.headers, scoped.body())
    {
        return Err(Refusal::new(
            Reason::SecretInRequest,
            "the request holds a secret's value where the host did not put it",
        ));
    }
    let origin = scoped.url().origin().to_string();
    let mut secrets = Vec::new();
    let mut lent = Vec::new();
    for credential in credentials {
        let secret: &Secret = table.get(&credential.secret).map_err(|error| {
            Refusal::new(Reason::SecretNotGranted, "not a secret of this call")
                .with_detail(error.to_string())
        })?;
        let (scheme, said) = match credential.scheme {
            wit::Scheme::Bearer => (egress::CredentialScheme::Bearer, "bearer"),
            wit::Scheme::Basic(user) => (egress::CredentialScheme::Basic(user), "basic"),
            wit::Scheme::Header(name) => (egress::CredentialScheme::Header(name), "header"),
            wit::Scheme::Query(name) => (egress::CredentialScheme::Query(name), "query"),
        };
        let name = secret.name.clone();
        lent.push(lend(context, &name, &secret.origin, scoped.url().origin(), scheme, said)?);
        secrets.push(name);
    }
    for name in context.lent.placeholders_in(&request.headers) {
        let grant = context.grant(&name);
        let Some(Grant::Secret { origin: bound, .. }) = grant.as_deref() else {
            return Err(Refusal::new(Reason::SecretNotGranted, "not a secret of this call"));
        };
        let scheme = egress::CredentialScheme::Placeholder(context.lent.placeholder(&name).map_err(|error| {
            Refusal::new(Reason::HostInternal, "no placeholder").with_detail(error.to_string())
        })?);
        lent.push(lend(context, &name, bound, scoped.url().origin(), scheme, "placeholder")?);
        secrets.push(name);
    }
    let outgoing = Outgoing {
        request: scoped,
        origin,
        requirement: requirement.to_owned(),
        secrets,
        sent_before: context.requests(),
    };
    Ok((outgoing, lent))
}

/// A secret's value, for this request only, once its binding and policy allow it.
fn lend(
    context: &mut CallContext,
    name: &str,
    bound: &egress::Origin,
    to: &egress::Origin,
    scheme: egress::CredentialScheme,
    said: &'static str,
) -> Result<Credential, Refusal> {
    if bound != to {
        return Err(Refusal::new(
            Reason::SecretBinding,
            "the secret is bound to another origin",
        )
        .with_detail(format!("`{name}` is bound to `{bound}`, the request goes to `{to}`")));
    }
    if to.scheme() == Scheme::Http && !to.host().is_loopback() {
        return Err(Refusal::new(
            Reason::SecretBinding,
            "a secret is sent only over TLS",
        ));
    }
    let question = Use {
        name: name.to_owned(),
        origin: to.to_string(),
        scheme: said,
    };
    let (question, _) = context.decide(question)?.into_inner();
    let value = context.value(&question.name)?;
    Credential::new(scheme, value.expose())
}

/// Records how it ended, and hands the reply on within its bounds.
fn finish(
    context: &mut CallContext,
    reference: &HostCallRef,
    exchange: Exchange,
    began: Instant,
) -> wasmtime::Result<Result<wit::Response, Refusal>> {
    let Exchange { result, trace } = exchange;
    let (status, reason) = match &result {
        Ok(_) => ("ok", None),
        // A refusal has a record of its own, which carries the reason.
        Err(_) => ("refused", None),
    };
    let status = match &result {
        Err(refusal) if refusal.reason.kind() != Kind::Refused => "failed",
        _ => status,
    };
    context.record(&Event::HostCallOutcome(HostCallOutcome {
        call: context.facts.call,
        number: reference.number,
        status: status.to_owned(),
        reason,
        http_status: result.as_ref().ok().map(|response| response.status),
        address: trace.address.map(|address| address.to_string()),
        bytes_in: trace.bytes_in,
        duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
    }))?;
    let response = match result {
        Ok(response) => response,
        Err(refusal) => return Ok(Err(refusal)),
    };
    context.charge(response.body.len())?;
    // An origin may echo what it was sent.
    let lent = Arc::clone(&context.lent);
    let headers = response
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), lent.redact_text(&value).0.into_owned())
        })
        .collect();
    let body = lent.redact_bytes(&response.body).0.into_owned();
    Ok(Ok(wit::Response {
        status: response.status,
        headers,
        body,
    }))
}
