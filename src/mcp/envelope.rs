//! One JSON-RPC message, read strictly before `rmcp` reads it.
//!
//! `rmcp` reads with `serde`, which keeps the last of two equal keys, so that what a proxy or a
//! policy read first would not be what runs. Here a known key that stands twice, a batch, a null
//! or outsized id, and text that is not JSON are each refused with their code, and the message is
//! written anew from what was checked: `rmcp` sees nothing else. Only the arguments of a call are
//! not looked at: their text goes to the host as it came, which refuses with a record.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::backend::TooOften;
use crate::json;
use crate::limits::protocol::{ID, PARAMS};
use crate::reason::Reason;

pub(super) const PARSE_ERROR: i32 = -32700;
pub(super) const INVALID_REQUEST: i32 = -32600;
pub(super) const INVALID_PARAMS: i32 = -32602;
/// What a head and its body say is not the same.
pub(super) const HEADER_MISMATCH: i32 = -32020;
/// The client asks too often. The protocol has no code of its own for it; this is the first of those that
/// JSON-RPC leaves to servers, and `data.code` says what it is.
pub(super) const TOO_OFTEN: i32 = -32000;

/// What there can be too many of.
pub(super) const REQUESTS: &str = "requests under way";
pub(super) const STREAMS: &str = "streams open";

/// What is said where an id comes twice.
pub(super) const IN_USE: &str = "a request of this id is being answered";

/// What is wrong with a message, as the client is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) code: i32,
    pub(super) message: String,
    /// The request's id, where it could be read.
    pub(super) id: Option<Value>,
    /// What a program can tell it by; boxed, since hardly any has it.
    pub(super) data: Option<Box<Value>>,
}

impl Fault {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            id: None,
            data: None,
        }
    }

    /// The one of a client that asks too often.
    pub(super) fn too_often(why: &TooOften) -> Self {
        let mut fault = Self::new(TOO_OFTEN, why.message.clone());
        let millis = u64::try_from(why.wait.as_millis()).unwrap_or(u64::MAX);
        fault.data = Some(Box::new(json!({
            "code": Reason::LimitRate.code(),
            "retryAfterMs": millis.saturating_add(1),
        })));
        fault
    }

    /// The one of a client that has too much open already: `whose` it is, how much that is, and of `what`.
    pub(super) fn too_many(whose: &str, most: usize, what: &str) -> Self {
        let message =
            format!("{whose} has {most} {what}, as many as it may have: wait until one is over");
        let mut fault = Self::new(TOO_OFTEN, message);
        fault.data = Some(Box::new(json!({"code": Reason::LimitConcurrency.code()})));
        fault
    }

    pub(super) fn with_id(mut self, id: Option<&RawValue>) -> Self {
        self.id = id.and_then(|id| serde_json::from_str(id.get()).ok());
        self
    }

    /// The answer. `id` is left out where it could not be read, as MCP has it.
    pub(super) fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Answer<'a> {
            jsonrpc: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a Value>,
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: i32,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a Value>,
        }
        let answer = Answer {
            jsonrpc: "2.0",
            id: self.id.as_ref(),
            error: Inner {
                code: self.code,
                message: &self.message,
                data: self.data.as_deref(),
            },
        };
        // Text, numbers and the id as it was read: nothing that can fail to be written.
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}

/// A message that may be passed on.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: Kind<'a>,
    id: Option<&'a RawValue>,
    method: Option<Cow<'a, str>>,
    params: Option<&'a RawValue>,
    outcome: Option<(&'static str, &'a RawValue)>,
}

/// What a message asks.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// `tools/call`.
    Call(Call<'a>),
    /// Another request.
    Request,
    /// No answer is expected.
    Notification,
    /// The answer to a request of ours.
    Answer,
}

/// The parameters of `tools/call`.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) name: Cow<'a, str>,
    arguments: Option<&'a RawValue>,
    meta: Option<&'a RawValue>,
    /// `meta` as read, until someone takes it.
    read_meta: Option<Value>,
    input_responses: Option<&'a RawValue>,
    request_state: Option<&'a RawValue>,
}

impl Call<'_> {
    /// Whether this is the next round of a call that was answered with a question.
    pub(super) const fn continues(&self) -> bool {
        self.input_responses.is_some() || self.request_state.is_some()
    }

    /// What `_meta` holds. It is given out once; what is written anew has it all the same.
    pub(super) const fn take_meta(&mut self) -> Option<Value> {
        self.read_meta.take()
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CallParams<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    arguments: Option<&'a RawValue>,
    #[serde(rename = "_meta", borrow, default, deserialize_with = "present")]
    meta: Option<&'a RawValue>,
    #[serde(
        rename = "inputResponses",
        borrow,
        default,
        deserialize_with = "present"
    )]
    input_responses: Option<&'a RawValue>,
    #[serde(rename = "requestState", borrow, default, deserialize_with = "present")]
    request_state: Option<&'a RawValue>,
}

/// `rmcp` reads malformed parameters of a list as none.
#[derive(Deserialize)]
struct ListParams {
    #[serde(rename = "cursor")]
    _cursor: Option<String>,
}

/// A value that stands there, `null` included: a null id is not an absent one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one message.
pub(super) fn read(text: &[u8]) -> Result<Message<'_>, Fault> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Fault::new(PARSE_ERROR, "the message is not UTF-8"))?;
    if text.trim_start().starts_with('[') {
        return Err(Fault::new(INVALID_REQUEST, "batches are not taken"));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            let mut fault = Fault::new(INVALID_REQUEST, structure(&error, "a JSON-RPC message"));
            fault.id = salvage_id(text);
            fault
        } else {
            Fault::new(PARSE_ERROR, "the message is not JSON")
        }
    })?;
    let invalid = |message: &str| {
        Fault::new(INVALID_REQUEST, message).with_id(envelope.id.filter(|id| is_id(id)))
    };
    if envelope.jsonrpc.as_deref() != Some("2.0") {
        return Err(invalid("`jsonrpc` is not \"2.0\""));
    }
    if envelope.id.is_some_and(|id| !is_id(id)) {
        return Err(invalid(
            "`id` is not an integer or a string of at most 256 bytes",
        ));
    }
    let outcome = match (envelope.result, envelope.error) {
        (None, None) => None,
        (Some(result), None) => Some(("result", result)),
        (None, Some(error)) => Some(("error", error)),
        (Some(_), Some(_)) => return Err(invalid("both `result` and `error`")),
    };
    let id = envelope.id;
    let kind = match (envelope.method.as_deref(), outcome) {
        (Some(_), Some(_)) => return Err(invalid("both `method` and an outcome")),
        (None, None) => return Err(invalid("neither `method` nor an outcome")),
        (None, Some((_, outcome))) => {
            check(outcome).map_err(|message| invalid(&message))?;
            Kind::Answer
        }
        // Nothing acts without being answered.
        (Some("tools/call"), None) if id.is_none() => {
            return Err(invalid("`tools/call` without an `id`"));
        }
        (Some("tools/call"), None) => {
            Kind::Call(call(envelope.params).map_err(|fault| fault.with_id(id))?)
        }
        (Some(_), None) => {
            if let Some(params) = envelope.params {
                check(params).map_err(|message| Fault::new(INVALID_PARAMS, message).with_id(id))?;
                let lists = [
                    "tools/list",
                    "prompts/list",
                    "resources/list",
                    "resources/templates/list",
                ];
                if envelope
                    .method
                    .as_deref()
                    .is_some_and(|method| lists.contains(&method))
                    && serde_json::from_str::<Option<ListParams>>(params.get()).is_err()
                {
                    let fault = Fault::new(INVALID_PARAMS, "malformed parameters");
                    return Err(fault.with_id(id));
                }
            }
            if id.is_some() {
                Kind::Request
            } else {
                Kind::Notification
            }
        }
    };
    Ok(Message {
        kind,
        id,
        method: envelope.method,
        params: envelope.params,
        outcome,
    })
}

fn call(params: Option<&RawValue>) -> Result<Call<'_>, Fault> {
    let params =
        params.ok_or_else(|| Fault::new(INVALID_PARAMS, "`tools/call` without `params`"))?;
    let params: CallParams<'_> = serde_json::from_str(params.get()).map_err(|error| {
        Fault::new(
            INVALID_PARAMS,
            structure(&error, "the parameters of a call"),
        )
    })?;
    let read = |part: Option<&RawValue>| {
        part.map(check)
            .transpose()
            .map_err(|message| Fault::new(INVALID_PARAMS, message))
    };
    let read_meta = read(params.meta)?;
    read(params.input_responses)?;
    read(params.request_state)?;
    Ok(Call {
        name: params.name,
        arguments: params.arguments,
        meta: params.meta,
        read_meta,
        input_responses: params.input_responses,
        request_state: params.request_state,
    })
}

/// Reads what `rmcp` is going to read, so that it meets no key twice and no number that it can't take.
fn check(text: &RawValue) -> Result<Value, String> {
    json::parse(text.get().as_bytes(), &PARAMS).map_err(|fault| fault.message)
}

fn structure(error: &serde_json::Error, what: &str) -> String {
    let text = error.to_string();
    // Names of keys that we know; everything else could hold the client's own text.
    if text.starts_with("duplicate field") || text.starts_with("missing field") {
        text
    } else {
        format!("not {what}")
    }
}

fn is_id(id: &RawValue) -> bool {
    id.get().len() <= ID
        && (id.get().starts_with('"') && serde_json::from_str::<String>(id.get()).is_ok()
            || serde_json::from_str::<i64>(id.get()).is_ok())
}

/// The id of a message that is wrong elsewhere, if there is exactly one and it can be one.
fn salvage_id(text: &str) -> Option<Value> {
    struct Ids<'a>(Vec<&'a RawValue>);
    struct Find;
    impl<'de> Visitor<'de> for Find {
        type Value = Ids<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ids<'de>, A::Error> {
            let mut ids = Vec::new();
            while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                if key == "id" {
                    ids.push(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(Ids(ids))
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    match reader.deserialize_map(Find).ok()?.0.as_slice() {
        [id] if is_id(id) => serde_json::from_str(id.get()).ok(),
        _ => None,
    }
}

impl<'a> Message<'a> {
    /// The id as it stands in the text, canonical enough to tell two requests apart: an integer
    /// has one form, and a string is compared after its escapes are read.
    pub(super) fn id_key(&self) -> Option<String> {
        let id = self.id?.get();
        if id.starts_with('"') {
            serde_json::from_str::<String>(id)
                .ok()
                .map(|text| format!("\"{text}"))
        } else {
            serde_json::from_str::<i64>(id)
                .ok()
                .map(|number| number.to_string())
        }
    }

    /// The id as it stands in the text.
    pub(super) const fn id(&self) -> Option<&'a RawValue> {
        self.id
    }

    /// The method of a request or a notification.
    pub(super) fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// The parameters.
    pub(super) fn params(&self) -> Option<&'a RawValue> {
        self.params
    }

    /// A fault of this message.
    pub(super) fn fault(&self, code: i32, message: impl Into<String>) -> Fault {
        Fault::new(code, message).with_id(self.id)
    }

    /// The text of a call's arguments as it came, sharing `text`, of which this message was read.
    pub(super) fn arguments(&self, text: &Bytes) -> Bytes {
        match &self.kind {
            Kind::Call(Call {
                arguments: Some(arguments),
                ..
            }) => text.slice_ref(arguments.get().as_bytes()),
            _ => Bytes::new(),
        }
    }

    /// The message as `rmcp` reads it. A call's arguments are left out, since the host reads their
    /// text itself, unless `keep_arguments` and `rmcp` can read them.
    pub(super) fn rewritten(&self, keep_arguments: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
        member(&mut out, "id", self.id);
        if let Some(method) = &self.method {
            out.extend_from_slice(br#","method":"#);
            string(&mut out, method);
        }
        if let Kind::Call(call) = &self.kind {
            out.extend_from_slice(br#","params":{"name":"#);
            string(&mut out, &call.name);
            out.extend_from_slice(br#","arguments":"#);
            match call.arguments {
                Some(arguments)
                    if keep_arguments
                        && arguments.get().starts_with('{')
                        && check(arguments).is_ok() =>
                {
                    out.extend_from_slice(arguments.get().as_bytes());
                }
                _ => out.extend_from_slice(b"{}"),
            }
            member(&mut out, "_meta", call.meta);
            member(&mut out, "inputResponses", call.input_responses);
            member(&mut out, "requestState", call.request_state);
            out.push(b'}');
        } else {
            member(&mut out, "params", self.params);
        }
        if let Some((name, outcome)) = self.outcome {
            member(&mut out, name, Some(outcome));
        }
        out.push(b'}');
        out
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: Option<&RawValue>) {
    if let Some(value) = value {
        out.push(b',');
        string(out, name);
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory can't fail.
    let _ = serde_json::to_writer(out, text);
}
