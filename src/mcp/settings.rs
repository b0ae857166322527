//! How MCP is served over HTTP.

use std::time::Duration;

use crate::limits::protocol::{
    BODY_TIME, CONNECTIONS, DRAIN, HEAD_TIME, REQUESTS, REQUESTS_PER_AGENT, SESSIONS,
    SESSIONS_PER_AGENT, STREAMS_PER_AGENT,
};

/// How MCP is served over HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Hosts that requests may be sent to: a name or address, with `:<port>` where only one will do.
    pub hosts: Vec<String>,
    /// Origins of web pages that may ask, `<scheme>://<host>`, with `:<port>` or `:*`.
    pub origins: Vec<String>,
    /// Connections at once.
    pub connections: usize,
    /// Sessions of older revisions at once.
    pub sessions: usize,
    /// Of these, sessions of one agent.
    pub sessions_per_agent: usize,
    /// Streams of one agent that stay open: of older sessions, and subscriptions.
    pub streams_per_agent: usize,
    /// Requests under way in one session.
    pub requests: usize,
    /// Requests under way of one agent, in all.
    pub requests_per_agent: usize,
    /// How long the head of a request may take, and an idle connection stay open.
    pub head_time: Duration,
    /// How long the body of a request may take.
    pub body_time: Duration,
    /// How long calls under way may take to end once the host is ending.
    pub drain: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
            // A web page has no business here unless the operator says so.
            origins: Vec::new(),
            connections: CONNECTIONS,
            sessions: SESSIONS,
            sessions_per_agent: SESSIONS_PER_AGENT,
            streams_per_agent: STREAMS_PER_AGENT,
            requests: REQUESTS,
            requests_per_agent: REQUESTS_PER_AGENT,
            head_time: HEAD_TIME,
            body_time: BODY_TIME,
            drain: DRAIN,
        }
    }
}
