//! The `secrets` capability: handles that stand for values the plugin mostly never sees.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{Resource, ResourceTable};

use super::CallContext;
use crate::egress;
use crate::grant::Grant;
use crate::journal::record::{Event, HostCall, HostCallOutcome};
use crate::lease::{Asked, Loaned};
use crate::policy::{Fact, HostAction, HostQuestion, Target};
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::secrets::{Host, HostSecret};
use crate::runtime::bindings::types;
use crate::runtime::{CallState, Ending};
use crate::secret::not_granted;
use crate::tape::Function;
use crate::task::OnTask;

/// A secret lent to this call: its name only. The value is fetched when it is used.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "bindgen re-exports it")]
pub struct Secret {
    pub(super) name: String,
    pub(super) origin: egress::Origin,
}

/// The use of a secret, as policy decides on it.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) origin: String,
    /// `bearer`, `basic`, `header`, `query`, `placeholder`; or `reveal`.
    pub(super) scheme: &'static str,
}

impl HostQuestion for Use {
    fn action(&self) -> HostAction {
        match self.scheme {
            "reveal" => HostAction::RevealSecret,
            _ => HostAction::UseSecret,
        }
    }

    fn target(&self) -> Target<'_> {
        Target::Secret(&self.name)
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![
            ("origin", Fact::Text(self.origin.clone())),
            ("scheme", Fact::Text(self.scheme.to_owned())),
        ]
    }
}

impl CallContext {
    /// The secret `name`, lent for one use that policy allowed; from now on its value is looked for in
    /// all that leaves the call.
    pub(super) async fn lend(&self, allowed: &Allowed) -> Result<Loaned, Refusal> {
        let loaned = self.services.leases.lend(Asked {
            call: self.facts.call,
            under_way: Arc::clone(&self.facts.under_way),
            task: self.facts.task.as_ref().and_then(OnTask::id),
            agent: self.facts.caller.agent.clone(),
            plugin: self.facts.tool.plugin().clone(),
            name: allowed.name.clone(),
            origin: allowed.origin.clone(),
            scheme: allowed.scheme.clone(),
        });
        let loaned = loaned.await?;
        self.lent.lend(&allowed.name, Arc::clone(&loaned.value));
        Ok(loaned)
    }
}

/// A use of a secret that policy allowed.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    pub(super) name: String,
    pub(super) origin: String,
    /// As in the lease: `bearer`, `header:x-api-key`, ...
    pub(super) scheme: String,
}

impl Host for CallState {
    async fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Secret>, types::Error>> {
        let asked = self.asks(Function::SecretsOpen, |fields, _| {
            fields.text("name", &name)
        });
        let opened: Result<Secret, types::Error> = match asked? {
            Some(answer) => answer,
            None => {
                let answer = self.open_secret(name).await;
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
    async fn open_secret(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Secret, types::Error>> {
        let (_, context) = self.parts()?;
        context.count("secrets", name.len())?;
        let found = match context.grant(&name).as_deref() {
            Some(Grant::Secret { origin, .. }) => {
                // A handle to nothing would let a plugin tell the two apart later.
                let plugin = context.facts.tool.plugin();
                let there = context.services.leases.look(plugin, &name).await;
                there.map(|value| {
                    if let Some(value) = value {
                        context.lent.lend(&name, value);
                    }
                    origin.clone()
                })
            }
            _ => Err(not_granted()),
        };
        match found {
            Ok(origin) => Ok(Ok(Secret { name, origin })),
            Err(refusal) => {
                let reference = context.reference("secret", &name);
                Ok(Err(context.refuse(reference, refusal)?))
            }
        }
    }
}

impl HostSecret for CallState {
    fn placeholder(
        &mut self,
        secret: Resource<Secret>,
    ) -> wasmtime::Result<Result<String, types::Error>> {
        let asked = self.asks(Function::SecretPlaceholder, |fields, table| {
            fields.text("secret", name_of(table, &secret));
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.make_placeholder(&secret);
        self.answers(answer)
    }

    async fn reveal(
        &mut self,
        secret: Resource<Secret>,
    ) -> wasmtime::Result<Result<String, types::Error>> {
        let asked = self.asks(Function::SecretReveal, |fields, table| {
            fields.text("secret", name_of(table, &secret));
        });
        if let Some(answer) = asked? {
            return Ok(answer);
        }
        let answer = self.revealing(&secret).await;
        // From here on the plugin has it, and whatever it does can show it.
        if matches!(answer, Ok(Ok(_))) {
            self.keeps_no_tape("the plugin was shown a secret's value");
        }
        self.answers(answer)
    }

    fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.handles().delete(secret)?;
        Ok(())
    }
}

/// The name of the secret behind a handle.
fn name_of<'t>(table: &'t ResourceTable, secret: &Resource<Secret>) -> &'t str {
    table.get(secret).map_or("?", |secret| secret.name.as_str())
}

impl CallState {
    fn make_placeholder(
        &mut self,
        secret: &Resource<Secret>,
    ) -> wasmtime::Result<Result<String, types::Error>> {
        let (table, context) = self.parts()?;
        context.count("secrets", 0)?;
        let Secret { name, origin } = table.get(secret)?;
        let text = context
            .placeholders
            .make(context.services.entropy.as_ref(), name, &origin.to_string())
            .map_err(|error| {
                Ending::from(
                    Refusal::new(Reason::HostInternal, "no random bytes for a placeholder")
                        .with_detail(error.to_string()),
                )
            })?;
        Ok(Ok(text))
    }

    async fn revealing(
        &mut self,
        secret: &Resource<Secret>,
    ) -> wasmtime::Result<Result<String, types::Error>> {
        let began = Instant::now();
        let (table, context) = self.parts()?;
        context.count("secrets", 0)?;
        let secret = table.get(secret)?;
        let reference = context.reference("secret", &secret.name);
        let question = Use {
            name: secret.name.clone(),
            origin: secret.origin.to_string(),
            scheme: "reveal",
        };
        let may = matches!(
            context.grant(&secret.name).as_deref(),
            Some(Grant::Secret { reveal: true, .. })
        );
        let decided = if may {
            context.decide(question)
        } else {
            Err(Refusal::new(
                Reason::SecretHandleOnly,
                "this secret may be used and not read",
            ))
        };
        let (question, ground) = match decided {
            Ok(checked) => checked.into_inner(),
            Err(refusal) => return Ok(Err(context.refuse(reference, refusal)?)),
        };
        context.record(&Event::HostCall(HostCall {
            call: context.facts.call,
            host_call: reference.clone(),
            method: Some("reveal".to_owned()),
            bytes_out: 0,
            body: None,
            secrets: vec![question.name.clone()],
            // The decision of this record is the one about the secret.
            secret_uses: Vec::new(),
            decision: ground,
        }))?;
        let allowed = Allowed {
            name: question.name.clone(),
            origin: question.origin.clone(),
            scheme: String::from("reveal"),
        };
        let revealed = context.lend(&allowed).await.and_then(|loaned| {
            String::from_utf8(loaned.value.expose().to_vec())
                .map_err(|_| Refusal::new(Reason::SecretUnavailable, "the secret is not text"))
        });
        context.record(&Event::HostCallOutcome(HostCallOutcome {
            call: context.facts.call,
            number: reference.number,
            // A refusal has a record of its own, which carries the reason.
            status: if revealed.is_ok() { "ok" } else { "refused" }.to_owned(),
            reason: None,
            detail: None,
            http_status: None,
            address: None,
            bytes_in: 0,
            duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        }))?;
        match revealed {
            Ok(text) => {
                context.charge(text.len())?;
                Ok(Ok(text))
            }
            Err(refusal) => Ok(Err(context.refuse(reference, refusal)?)),
        }
    }
}
