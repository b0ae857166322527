//! One event, put together member by member.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::egress::CanonicalUrl;
use crate::journal::record::{CallId, Caller, Record, VERSION};
use crate::policy::Ground;
use crate::reason::Reason;

/// The version of the schema.
const SCHEMA: &str = "1.6.0";

/// What was done, in the words of API Activity.
#[derive(Debug, Clone, Copy)]
pub(super) enum Activity {
    Create,
    Read,
    Update,
    Delete,
    /// None of these.
    Other(&'static str),
}

impl Activity {
    pub(super) fn of_method(method: &str) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" => Self::Read,
            "POST" => Self::Create,
            "PUT" | "PATCH" => Self::Update,
            "DELETE" => Self::Delete,
            _ => Self::Other("Host Call"),
        }
    }

    const fn of_schema(self) -> (u32, &'static str) {
        match self {
            Self::Create => (1, "Create"),
            Self::Read => (2, "Read"),
            Self::Update => (3, "Update"),
            Self::Delete => (4, "Delete"),
            Self::Other(name) => (99, name),
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Status {
    Unknown,
    Success,
    Failure,
    /// None of these.
    Other(&'static str),
}

/// An event that is not complete yet.
#[derive(Debug)]
pub(super) struct Event {
    members: Map<String, Value>,
    unmapped: Map<String, Value>,
    message: Option<String>,
}

impl Event {
    /// An event of class API Activity.
    pub(super) fn api(activity: Activity, operation: &str) -> Self {
        let (id, name) = activity.of_schema();
        let mut event = Self::of_class(6003, "API Activity", id, name);
        event.put("api", json!({"operation": operation}));
        event.message = Some(operation.to_owned());
        event
    }

    /// An event of class Application Lifecycle.
    pub(super) fn lifecycle(id: u32, name: &str) -> Self {
        let mut event = Self::of_class(6002, "Application Lifecycle", id, name);
        event.put("app", product());
        event.status(Status::Success)
    }

    fn of_class(class: u32, class_name: &str, id: u32, name: &str) -> Self {
        let mut event = Self {
            members: Map::new(),
            unmapped: Map::new(),
            message: None,
        };
        event.put("category_uid", 6);
        event.put("category_name", "Application Activity");
        event.put("class_uid", class);
        event.put("class_name", class_name);
        event.put("activity_id", id);
        event.put("activity_name", name);
        event.put("type_uid", class * 100 + id);
        event.put("type_name", format!("{class_name}: {name}"));
        event.severity(1, "Informational")
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.members.insert(key.to_owned(), value.into());
    }

    pub(super) fn severity(mut self, id: u32, name: &str) -> Self {
        self.put("severity_id", id);
        self.put("severity", name);
        self
    }

    pub(super) fn message(mut self, text: impl Into<String>) -> Self {
        self.message = Some(text.into());
        self
    }

    /// Who called.
    pub(super) fn caller(mut self, caller: &Caller) -> Self {
        let mut actor = json!({
            "app_name": caller.agent.name(), "app_uid": caller.agent.as_str(), "invoked_by": caller.transport,
        });
        let user = caller.user.as_ref();
        add(&mut actor, "user", user.map(|name| json!({"name": name})));
        self.put("actor", actor);
        self.put("src_endpoint", json!({"svc_name": caller.transport}));
        if !caller.chain.is_empty() {
            self = self.unmapped("chain", Some(&caller.chain));
        }
        self.unmapped("task", caller.task)
    }

    /// A person did it.
    pub(super) fn person(mut self, name: &str) -> Self {
        self.put("actor", json!({"user": {"name": name}}));
        self.put("src_endpoint", json!({"svc_name": "approvals"}));
        self
    }

    /// An operator, or the host itself.
    pub(super) fn ordered_by(mut self, whom: &str) -> Self {
        self.put("actor", json!({"invoked_by": whom}));
        self.put("src_endpoint", json!({"svc_name": "host"}));
        self.status(Status::Success)
    }

    /// The plugin that a tool is of.
    pub(super) fn service(mut self, tool: &str) -> Self {
        if let (Some(Value::Object(api)), Some((plugin, _))) =
            (self.members.get_mut("api"), tool.split_once('.'))
        {
            api.insert("service".to_owned(), json!({"name": plugin}));
        }
        self
    }

    /// On what.
    pub(super) fn about(mut self, kind: &str, name: &str) -> Self {
        self.put("resources", json!([{"type": kind, "name": name}]));
        self
    }

    /// A request, by its canonical URL; without the query, in which there may be anything.
    pub(super) fn request(mut self, method: Option<&str>, target: &str) -> Self {
        let Ok(url) = CanonicalUrl::parse(target) else {
            return self;
        };
        let origin = url.origin();
        let host = origin.host().to_string();
        self.put(
            "dst_endpoint",
            json!({"hostname": host, "port": origin.port()}),
        );
        let mut request = json!({"url": {
            "scheme": origin.scheme().as_str(), "hostname": host, "port": origin.port(), "path": url.path(),
        }});
        add(&mut request, "http_method", method.map(Value::from));
        self.put("http_request", request);
        self
    }

    /// What was refused: where it would have gone, if that is a place. What a plugin wrote in its stead, or
    /// behind the place, stays in the journal.
    pub(super) fn target(mut self, target: &str) -> Self {
        if let Ok(url) = CanonicalUrl::parse(target) {
            let (host, port) = (url.origin().host().to_string(), url.origin().port());
            self.put("dst_endpoint", json!({"hostname": host, "port": port}));
        }
        self
    }

    /// What came back.
    pub(super) fn answered(mut self, status: Option<u16>, address: Option<&str>) -> Self {
        if let Some(status) = status {
            self.put("http_response", json!({"code": status}));
        }
        if let (Some(Value::Object(to)), Some(address)) =
            (self.members.get_mut("dst_endpoint"), address)
        {
            let ip = address
                .parse::<std::net::SocketAddr>()
                .map_or_else(|_| address.to_owned(), |address| address.ip().to_string());
            to.insert("ip".to_owned(), ip.into());
        }
        self
    }

    /// What policy said, and which policies.
    pub(super) fn decided(mut self, action: &str, id: u32, ground: Option<&Ground>) -> Self {
        self.put("action_id", id);
        self.put("action", action);
        let (disposition, name) = match id {
            1 => (1, "Allowed"),
            2 => (2, "Blocked"),
            _ => (99, action),
        };
        self.put("disposition_id", disposition);
        self.put("disposition", name);
        if let Some(ground) = ground {
            let word = match id {
                1 => "allow",
                2 => "refuse",
                _ => "hold",
            };
            let authorizations: Vec<Value> = ground
                .policies
                .iter()
                .map(|policy| json!({"decision": word, "policy": {"uid": policy.id, "name": policy.id}}))
                .collect();
            if !authorizations.is_empty() {
                self.put("authorizations", authorizations);
            }
            self = self.unmapped("policy_set", Some(ground.set));
        }
        self
    }

    pub(super) fn status(mut self, status: Status) -> Self {
        let (id, name) = match status {
            Status::Unknown => (0, "Unknown"),
            Status::Success => (1, "Success"),
            Status::Failure => (2, "Failure"),
            Status::Other(name) => (99, name),
        };
        self.put("status_id", id);
        self.put("status", name);
        if matches!(status, Status::Failure) {
            self = self.severity(2, "Low");
        }
        self
    }

    /// Why, from the closed list of reasons.
    pub(super) fn reason(mut self, reason: Reason) -> Self {
        self.put("status_code", reason.code());
        if let Some(Value::Object(api)) = self.members.get_mut("api") {
            api.insert("response".to_owned(), json!({"error": reason.code()}));
        }
        self
    }

    pub(super) fn duration(mut self, us: u64) -> Self {
        self.put("duration", us / 1000);
        self
    }

    /// What the schema has no place for.
    pub(super) fn unmapped(mut self, key: &str, value: Option<impl Serialize>) -> Self {
        let value = value.and_then(|value| serde_json::to_value(value).ok());
        if let Some(value) = value {
            self.unmapped.insert(key.to_owned(), value);
        }
        self
    }

    /// The event as it is written, for this record.
    pub(super) fn written(mut self, record: &Record, call: Option<CallId>) -> Value {
        let time: Option<jiff::Timestamp> = record.time.parse().ok();
        self.put("time", time.map_or(0, jiff::Timestamp::as_millisecond));
        let mut metadata = json!({
            "version": SCHEMA, "product": product(), "profiles": ["security_control"],
            "log_name": "journal", "log_version": VERSION.to_string(), "event_code": record.event.kind(),
            "sequence": record.seq, "original_time": record.time,
        });
        let call = call.map(|call| call.to_string());
        add(
            &mut metadata,
            "correlation_uid",
            call.clone().map(Value::from),
        );
        // A record may be several events: one for each call that it speaks of.
        let uid = match &call {
            Some(call) => format!("{}-{call}", record.seq),
            None => record.seq.to_string(),
        };
        add(&mut metadata, "uid", Some(uid.into()));
        self.put("metadata", metadata);
        if let (Some(Value::Object(api)), Some(call)) = (self.members.get_mut("api"), call) {
            api.insert("request".to_owned(), json!({"uid": call}));
        }
        if self.members.get("class_uid") == Some(&Value::from(6003)) {
            for (key, value) in [
                ("actor", json!({"invoked_by": "host"})),
                ("src_endpoint", json!({"svc_name": "host"})),
            ] {
                self.members.entry(key).or_insert(value);
            }
        }
        if let Some(message) = self.message.take() {
            self.put("message", message);
        }
        if !self.unmapped.is_empty() {
            let unmapped = std::mem::take(&mut self.unmapped);
            self.put("unmapped", unmapped);
        }
        Value::Object(self.members)
    }
}

fn product() -> Value {
    json!({"name": "Tollgate", "vendor_name": "Tollgate", "version": env!("CARGO_PKG_VERSION")})
}

fn add(object: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(key.to_owned(), value);
    }
}
