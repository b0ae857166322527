//! From what the plugin wrote to what policy is asked about: canonical, within the grant, and with each
//! value that goes along allowed.

use wasmtime::component::ResourceTable;

use super::Outgoing;
use crate::capability::CallContext;
use crate::capability::credentials::{Place, Wanted, allowed};
use crate::capability::secrets::Secret;
use crate::capability::sign;
use crate::egress::{CredentialScheme, Request, ScopedRequest};
use crate::grant::Grant;
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::http as wit;
use crate::secret::{Lent, aside};

/// The canonical request within its grant, with nothing in it that was lent.
pub(super) async fn admitted(
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
pub(super) fn prepare(
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
