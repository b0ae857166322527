//! Credentials of one request: which ones policy allows, and what is then lent for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CallContext;
use super::secrets::{Allowed, Use};
use super::sign;
use crate::egress::{self, CredentialScheme, Request};
use crate::grant::Grant;
use crate::journal::record::SecretUse;
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::http as wit;
use crate::secret::SecretValue;

/// A secret that may go into one request, by policy; it is lent once the request's intent is written.
pub(super) struct Wanted {
    pub(super) allowed: Allowed,
    pub(super) place: Place,
    /// How policy was told that it is used.
    pub(super) said: &'static str,
}

/// Where it goes.
pub(super) enum Place {
    Scheme(CredentialScheme),
    /// Nowhere: the host signs with it.
    Sign(wit::AwsScope),
    /// In the header of this name, where the plugin put placeholders into this text.
    Within(String, String),
}

/// A secret's value on its way into one request.
pub(super) struct Loan {
    pub(super) scheme: CredentialScheme,
    pub(super) value: Arc<SecretValue>,
}

/// What a lease is bound to, beside its origin.
fn bound_to(place: &Place) -> String {
    let scheme = match place {
        Place::Scheme(scheme) => scheme,
        Place::Sign(scope) => return format!("sign:aws-sigv4:{}/{}", scope.region, scope.service),
        Place::Within(header, _) => return format!("header:{}", header.to_ascii_lowercase()),
    };
    match scheme {
        CredentialScheme::Bearer => String::from("bearer"),
        CredentialScheme::Basic(_) => String::from("basic"),
        CredentialScheme::Header(name) | CredentialScheme::Instead(name) => {
            format!("header:{}", name.to_ascii_lowercase())
        }
        CredentialScheme::Query(name) => format!("query:{name}"),
    }
}

/// The use of a secret in this request, once its binding and policy allow it; and the decision.
pub(super) fn allowed(
    context: &CallContext,
    name: &str,
    to: &egress::Origin,
    said: &'static str,
    place: &Place,
) -> Result<(Allowed, SecretUse), Refusal> {
    let grant = context.grant(name);
    let Some(Grant::Secret { origin: bound, .. }) = grant.as_deref() else {
        return Err(crate::secret::not_granted());
    };
    if bound != to {
        return Err(Refusal::new(
            Reason::SecretBinding,
            "the secret is bound to another origin",
        )
        .with_detail(format!(
            "`{name}` is bound to `{bound}`, the request goes to `{to}`"
        )));
    }
    let question = Use {
        name: name.to_owned(),
        origin: to.to_string(),
        scheme: said,
    };
    let (question, decision) = context.decide(question)?.into_inner();
    let used = SecretUse {
        secret: question.name.clone(),
        scheme: said.to_owned(),
        decision,
    };
    let allowed = Allowed {
        name: question.name,
        origin: question.origin,
        scheme: bound_to(place),
    };
    Ok((allowed, used))
}

/// Lends what policy allowed. INVARIANT: after the intent is on the disk, since a credential that is
/// made for this is an effect, too.
pub(super) async fn borrow(
    context: &CallContext,
    wanted: &[Wanted],
    request: &Request,
) -> Result<Vec<Loan>, Refusal> {
    let mut loans = Vec::with_capacity(wanted.len());
    // By header, since a lease is bound to one: the same secret in two headers is two.
    let mut within: BTreeMap<&str, (&str, BTreeMap<&str, Arc<SecretValue>>)> = BTreeMap::new();
    for Wanted { allowed, place, .. } in wanted {
        let loaned = context.lend(allowed).await?;
        match place {
            Place::Scheme(scheme) => {
                let scheme = match (scheme, loaned.user) {
                    // A user name that was made with the password goes with it.
                    (CredentialScheme::Basic(_), Some(user)) => CredentialScheme::Basic(user),
                    (scheme, _) => scheme.clone(),
                };
                loans.push(Loan {
                    scheme,
                    value: loaned.value,
                });
            }
            Place::Sign(scope) => {
                let now = context.services.clock.now();
                let signed = sign::aws(request, &loaned.value, scope, now)?;
                for part in signed.parts {
                    context.lent.lend(&allowed.name, Arc::new(part));
                }
                loans.extend(signed.headers.into_iter().map(|(name, value)| Loan {
                    scheme: CredentialScheme::Header(name),
                    value: Arc::new(value),
                }));
            }
            Place::Within(header, text) => {
                let (_, values) = within
                    .entry(header)
                    .or_insert_with(|| (text, BTreeMap::new()));
                values.insert(&allowed.name, loaned.value);
            }
        }
    }
    let origin = request.url().origin().to_string();
    for (header, (text, values)) in within {
        let value = |name: &str| values.get(name).cloned();
        let put = context
            .placeholders
            .substitute(&origin, header, text.as_bytes(), &value)?;
        if let Some(value) = put {
            loans.push(Loan {
                scheme: CredentialScheme::Instead(header.to_owned()),
                value: Arc::new(value),
            });
        }
    }
    Ok(loans)
}
