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
use super::credentials::{Place, Wanted, allowed, borrow, bound_to};
use super::secrets::Secret;
use super::sign;
use crate::egress::{
    self, Admitted, CheckedRequest, Class, Credential, CredentialScheme, Exchange, Request,
    ScopedRequest,
};
use crate::grant::Grant;
use crate::journal::record::{Event, HostCall, HostCallOutcome, HostCallRef};
use crate::policy::{Checked, Fact, HostAction, HostQuestion, Target};
use crate::reason::{Kind, Reason, Refusal};
use crate::runtime::bindings::http as wit;
use crate::runtime::bindings::types;
use crate::runtime::{CallState, Ending};

/// The right to send requests within one requirement, for this call. Only its name: the grant
/// itself stays in the context.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "bindgen re-exports it")]
pub struct Origin {
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
            + request
                .headers
                .iter()
                .map(|(n, v)| n.len() + v.len())
                .sum::<usize>()
            + request.body.as_ref().map_or(0, Vec::len);
        context.count("http", size)?;
        // What is written down where the text is no URL: the text itself, cut and escaped.
        let reference = context.reference("http", &request.url);
        // The table of handles is not held while waiting.
        let prepared = prepare(table, context, &requirement, request, credentials);
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

    fn drop(&mut self, origin: Resource<Origin>) -> wasmtime::Result<()> {
        let (table, _) = self.parts()?;
        table.delete(origin)?;
        Ok(())
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
    let limits = context.limits.http;
    let checked = match context.decide(outgoing) {
        Ok(checked) => checked,
        Err(refusal) => return Ok(Err(Unsent::Refused(refusal))),
    };

    // INVARIANT: on the disk before the first byte leaves, the look-up of the name included.
    let began = Instant::now();
    let position = context.record(&intent(context, reference, &checked))?;
    let durable = context.services.journal.durable(position);
    durable
        .await
        .map_err(|error| Ending::from(Refusal::from(error)))?;
    let loans = match borrow(context, &wanted, &checked.get().request).await {
        Ok(loans) => loans,
        Err(refusal) => return finish(context, reference, unsent(refusal), began),
    };
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
    finish(context, reference, exchange, began)
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
        secrets: secrets.clone(),
        decision: checked.ground().clone(),
    })
}

/// Everything before policy: the canonical request within its grant, and the values to go with it.
fn prepare(
    table: &ResourceTable,
    context: &mut CallContext,
    requirement: &str,
    mut request: wit::Request,
    credentials: Vec<wit::Credential>,
) -> Result<(Outgoing, Vec<Wanted>), Refusal> {
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
    if let Some(found) = context.lent.finds_in_request(&url, headers, scoped.body()) {
        return Err(found.into());
    }

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
        let allowed = allowed(context, &secret.name, to, said, bound_to(&place))?;
        secrets.push(secret.name.clone());
        wanted.push(Wanted { allowed, place });
    }
    // Anywhere but in a header for credentials a placeholder is only a random text.
    let bound = to.to_string();
    for (header, value) in &request.headers {
        let names = context
            .placeholders
            .names(&bound, header, value.as_bytes())?;
        for name in names {
            let place = Place::Within(header.clone(), value.clone());
            let allowed = allowed(context, &name, to, "placeholder", bound_to(&place))?;
            secrets.push(name.to_string());
            wanted.push(Wanted { allowed, place });
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

/// Records how it ended, and hands the reply on within its bounds.
fn finish(
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
    Ok(Ok(wit::Response {
        status: response.status,
        headers,
        body: context.lent.redact_bytes(&response.body).0.into_owned(),
    }))
}
