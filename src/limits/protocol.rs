//! What one client of MCP may send, hold open and wait for: every such bound, in one place.
//!
//! Those that an operator may set stand in `[server]`, with these as their defaults.

use std::time::Duration;

use crate::json;

/// Bytes of one message. Arguments are bounded far below by the host; this is what is read before anyone
/// has looked at them, and what every MCP server on HTTP takes.
pub(crate) const MESSAGE: usize = 4 << 20;

/// Bytes of a request's id. Clients count or use UUIDs; the id comes back in every answer.
pub(crate) const ID: usize = 256;

/// Bounds on parameters other than a call's arguments: `_meta`, and other methods' own.
pub(crate) const PARAMS: json::Limits = json::Limits {
    bytes: MESSAGE,
    depth: 64,
    nodes: 10_000,
};

/// The longest token that is looked up.
pub(crate) const TOKEN: usize = 8_192;

/// What is read at `/token`: two tokens and the arguments of a call that is worth being held to.
pub(crate) const EXCHANGE: json::Limits = json::Limits {
    bytes: 64 << 10,
    depth: 32,
    nodes: 2_048,
};

/// Connections at once. Each may hold a message of 4 MiB: 1 GiB at the very worst, all of it from agents
/// with a token.
pub(crate) const CONNECTIONS: usize = 256;

/// Sessions of older revisions at once: thousands of clients of one host; each of them also needs a
/// connection while it asks.
pub(crate) const SESSIONS: usize = 1_024;

/// Of these, of one agent. One agent's clients restart, and each leaves a session behind for five minutes.
pub(crate) const SESSIONS_PER_AGENT: usize = 128;

/// Streams of one agent that stay open. Each keeps a connection, so this is a quarter of all: no agent
/// shuts others out by listening.
pub(crate) const STREAMS_PER_AGENT: usize = 64;

/// Requests under way in one session or on one byte stream. As many calls as an agent may have at once;
/// what is beyond would only wait, and each that waits holds its arguments.
pub(crate) const REQUESTS: usize = 64;

/// Requests under way of one agent over HTTP, whatever it has of sessions: as many as there are
/// connections, since an older session's request goes on without one.
pub(crate) const REQUESTS_PER_AGENT: usize = 256;

/// Resources that one session or subscription watches.
pub(crate) const WATCHED: usize = 256;

/// Items in one page of a list. Some clients never ask for the second one, so that it holds far more tools
/// than any model can choose from.
pub(crate) const PAGE: usize = 500;

/// How long the head of a request may take, and an idle connection stay open.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long the body of a request may take: 4 MiB at the speed of a bad line.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(30);

/// How long calls under way may take once the host or the input ends: a call's own limit, and a little to
/// write its reply.
pub(crate) const DRAIN: Duration = Duration::from_secs(35);

/// How long one message may take to be written to a byte stream. A client that reads nothing for so long
/// is gone.
pub(crate) const WRITE: Duration = Duration::from_secs(30);

/// Messages that wait to be written to a byte stream.
pub(crate) const QUEUE: usize = 64;

/// What of a request waits to be told beside its result; more is dropped, since the plugin must not wait
/// for a slow client.
pub(crate) const TOLD: usize = 64;

/// How long a cancelled call may take to end before its request is given up. The call goes on to its
/// recorded end all the same.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// How long the last reports of progress may take to be written.
pub(crate) const PROGRESS_GRACE: Duration = Duration::from_secs(1);

/// How long a call that came again waits for the person. Most clients give a call up after a minute.
pub(crate) const AGAIN: Duration = Duration::from_secs(25);

/// How long a session's client may take to show the page, and the person to answer.
pub(crate) const SHOWING: Duration = Duration::from_secs(50);

/// How long a session's client may take with one question: a person fills in a form.
pub(crate) const ANSWERING: Duration = Duration::from_secs(5 * 60);

/// Rounds of one call. Clients stop after about as many.
pub(crate) const ROUNDS: u32 = 10;

/// Answers in one round.
pub(crate) const ANSWERS: usize = 16;

/// Bytes of the answers of all rounds of one call. A person fills in forms of some kilobytes; what is larger
/// belongs into arguments, whose bound is the operator's.
pub(crate) const ANSWER_BYTES: usize = 256 << 10;

/// How often a person is asked about one round of a job: others may use up what was agreed to, and
/// policies change.
pub(crate) const HOLDS: u32 = 4;

/// Bytes of what is kept of a job's result; the call's own limit on output is far below, but for base64.
pub(crate) const RESULT: usize = 32 << 20;
