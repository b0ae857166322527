//! Tells servers of the operator's choice that something waits for a person.
//!
//! As [Standard Webhooks](https://www.standardwebhooks.com) has it: a JSON body, signed with
//! HMAC-SHA256 over id, time and body, so that the receiver can tell it from a forgery and a replay.
//! It says that there is something to look at, and where; it carries no arguments, since what it goes
//! to is often a chat, and no right to anything. No call waits for it: it is a courtesy to people, and
//! an approval that nobody heard of expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use serde_json::json;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::approval::{Approval, ApprovalEvent, Status};
use crate::config::{SecretPlace, Webhook};
use crate::control::ApprovalReport;
use crate::egress::{OwnBounds, OwnClient};
use crate::host::Host;
use crate::id::ApprovalId;
use crate::private;

/// Pauses between attempts. After the last one it is given up; the approval may be over by then.
#[derive(Debug, Clone)]
pub struct Pauses(pub Vec<Duration>);

impl Default for Pauses {
    fn default() -> Self {
        // A restart of the receiver, then an outage; an approval lives for a quarter of an hour.
        Self([2, 10, 60, 5 * 60, 15 * 60].map(Duration::from_secs).into())
    }
}

/// Attempts at once. How many deliveries there are is bounded by the asks.
const AT_ONCE: usize = 64;

/// What is sent is small, and of what comes back only the status counts.
const BOUNDS: OwnBounds = OwnBounds {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(10),
    response_body: 64 << 10,
};

/// The shortest key that signs; the standard asks for 24 to 64 bytes.
const KEY: usize = 24;

/// The longest file of a key.
const MOST: u64 = 4_096;

/// Tells of each new hold, until the host drains.
///
/// What waits already is told again at the start: a delivery that was under way when the host ended
/// may not have arrived, and its id is the same, so that the receiver can tell.
pub async fn run(host: Arc<Host>, pauses: Pauses) {
    let draining = host.draining();
    let mut events = host.approvals().events();
    let mut teller = Teller {
        host,
        pauses: Arc::new(pauses),
        told: HashMap::new(),
        places: Arc::new(Semaphore::new(AT_ONCE)),
        deliveries: JoinSet::new(),
    };
    teller.catch_up();
    loop {
        let event = tokio::select! {
            biased;
            () = draining.cancelled() => break,
            Some(_) = teller.deliveries.join_next() => continue,
            event = events.recv() => event,
        };
        match event {
            Ok(ApprovalEvent::Asked(approval)) => teller.tell(&approval),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => teller.catch_up(),
            Err(RecvError::Closed) => break,
        }
    }
    // Dropping what is under way ends it: nobody waits for it, and the next start tells it again.
}

struct Teller {
    host: Arc<Host>,
    pauses: Arc<Pauses>,
    /// What was told, until it is over.
    told: HashMap<ApprovalId, Duration>,
    places: Arc<Semaphore>,
    deliveries: JoinSet<()>,
}

impl Teller {
    fn catch_up(&mut self) {
        for approval in self.host.approvals().list(Some(Status::Pending)) {
            self.tell(&approval);
        }
    }

    /// Starts a delivery to each server, once for each approval.
    fn tell(&mut self, approval: &Approval) {
        let now = self.host.now();
        self.told.retain(|_, expires| *expires > now);
        if self.told.insert(approval.id, approval.expires).is_some() {
            return;
        }
        for webhook in self.host.config().webhooks.clone() {
            let delivery = Delivery {
                host: Arc::clone(&self.host),
                webhook,
                message: Message::of(approval, &self.host),
                pauses: Arc::clone(&self.pauses),
                places: Arc::clone(&self.places),
            };
            self.deliveries.spawn(delivery.run());
        }
    }
}

/// What is sent, the same in every attempt.
#[derive(Debug, Clone)]
struct Message {
    of: ApprovalId,
    /// The same in every attempt and after a restart, so that a receiver can drop what it has.
    id: String,
    body: Bytes,
}

impl Message {
    fn of(approval: &Approval, host: &Host) -> Self {
        let report = ApprovalReport::of(approval, host);
        let body = json!({
            "type": "approval.requested",
            "timestamp": report.created,
            "data": {
                "approval": report.id, "url": report.url, "effect": report.effect, "tool": report.tool,
                "tier": report.tier, "agent": report.agent, "user": report.user, "task": report.task,
                "argumentsDigest": report.arguments_digest, "needed": report.needed, "expires": report.expires,
            },
        });
        Self {
            of: approval.id,
            id: format!("msg_{}", approval.id),
            body: Bytes::from(body.to_string()),
        }
    }
}

/// How an attempt ended.
enum Attempt {
    Taken,
    /// Trying again may help.
    Failed(String),
    /// It does not.
    Refused(String),
}

/// One message on its way to one server.
struct Delivery {
    host: Arc<Host>,
    webhook: Webhook,
    message: Message,
    pauses: Arc<Pauses>,
    places: Arc<Semaphore>,
}

impl Delivery {
    async fn run(self) {
        let (of, place) = (self.message.of, shown(&self.webhook.url));
        // What leaves the host is written down before it does.
        let detail = format!("to {place}");
        let written = match self
            .host
            .changed_with("webhook.told", &of.to_string(), detail)
        {
            Ok(position) => self.host.journal().durable(position).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::error!(%error, "a webhook is not told: it could not be written down");
            return;
        }
        let mut pauses = self.pauses.0.iter();
        loop {
            let why = match self.attempt().await {
                Attempt::Taken => {
                    tracing::debug!(approval = %of, place, "a webhook was told");
                    return;
                }
                Attempt::Refused(why) => {
                    tracing::error!(approval = %of, place, why, "a webhook does not take what it is told");
                    return;
                }
                Attempt::Failed(why) => why,
            };
            let Some(pause) = pauses.next() else {
                tracing::error!(approval = %of, place, why, "a webhook could not be told");
                return;
            };
            tracing::warn!(approval = %of, place, why, again_in_s = pause.as_secs(), "a webhook could not be told yet");
            tokio::time::sleep(*pause).await;
            if !self.is_awaited() {
                return;
            }
        }
    }

    /// Whether the approval still waits for a person.
    fn is_awaited(&self) -> bool {
        let approval = self.host.approvals().get(self.message.of);
        approval.is_some_and(|approval| approval.status == Status::Pending)
    }

    async fn attempt(&self) -> Attempt {
        // Given back before a pause: a server that is down must not keep others from being told.
        let Ok(_place) = self.places.acquire().await else {
            return Attempt::Refused(String::from("the host ends"));
        };
        let (host, webhook, message) = (&self.host, &self.webhook, &self.message);
        // Read each time, so that a key can be replaced while the host runs.
        let key = match key_at(&webhook.secret) {
            Ok(key) => key,
            Err(why) => return Attempt::Failed(why),
        };
        let now = host.now().as_secs().to_string();
        let signature = sign(&key, &message.id, &now, &message.body);
        let request = http::Request::post(&webhook.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, HeaderValue::from_static("tollgate"))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature)
            .body(message.body.clone());
        let request = match request {
            Ok(request) => request,
            Err(error) => return Attempt::Refused(error.to_string()),
        };
        let client = OwnClient::of(&host.services().outbound);
        match client.send(request, BOUNDS).await {
            Ok(response) => match response.status().as_u16() {
                200..=299 => Attempt::Taken,
                // The standard's word for: never again.
                410 => Attempt::Refused(String::from("it answered 410")),
                status => Attempt::Failed(format!("it answered {status}")),
            },
            Err(error) => Attempt::Failed(error.to_string()),
        }
    }
}

/// `v1,` and the signature, as the header has it.
fn sign(key: &[u8], id: &str, time: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The key: what `whsec_` stands before, in base64, or else the text as it is.
fn key_at(place: &SecretPlace) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = match place {
        SecretPlace::File(path) => private::read(path, MOST).map_err(|error| error.to_string())?,
        SecretPlace::Variable(name) => std::env::var(name)
            .map(|text| Zeroizing::new(text.into_bytes()))
            .map_err(|_| format!("the variable `{name}` is not set"))?,
        // The configuration takes no other.
        _ => return Err(String::from("a webhook's key is in a file or a variable")),
    };
    key_of(&text)
}

fn key_of(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = text.trim_ascii();
    let key = match text.strip_prefix(b"whsec_") {
        Some(encoded) => Zeroizing::new(
            STANDARD
                .decode(encoded)
                .map_err(|_| String::from("after `whsec_` comes base64"))?,
        ),
        None => Zeroizing::new(text.to_vec()),
    };
    if key.len() < KEY {
        return Err(format!("a webhook's key has at least {KEY} bytes"));
    }
    Ok(key)
}

/// Where it goes, without what in it may be a secret.
fn shown(url: &str) -> String {
    url::Url::parse(url).map_or_else(
        |_| String::from("a server"),
        |url| url.origin().ascii_serialization(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_standards_own() {
        // The example of the specification.
        let key = key_of(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = sign(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_that_can_be_guessed_is_none() {
        for text in [
            &b""[..],
            b"short",
            b"whsec_",
            b"whsec_%%%",
            b"whsec_c2hvcnQ=",
        ] {
            assert!(key_of(text).is_err(), "{text:?}");
        }
        assert_eq!(key_of(&[b'k'; KEY]).unwrap().len(), KEY);
    }

    #[test]
    fn what_is_logged_of_a_place_is_no_secret() {
        assert_eq!(
            shown("https://hooks.example/T0/SECRET?token=1"),
            "https://hooks.example"
        );
    }
}
