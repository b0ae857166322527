//! What one call may use, and how many calls there may be at once.
//!
//! Each has a default that is argued here, can be set per plugin and per tool in `tollgate.toml`
//! (a tool's setting goes before its plugin's, that before the host's), and ends in a typed outcome
//! that says which limit it was and how much was used.

pub(crate) mod protocol;

use std::fmt::Display;
use std::time::Duration;

use crate::json;

/// What an outcome says of a limit: which one (as it is named in `tollgate.toml`), how much was used or
/// asked for, and how much there is.
pub(crate) fn reached(
    limit: &str,
    used: impl Display,
    allowed: impl Display,
    unit: &str,
) -> String {
    format!("limit `{limit}` reached: {used} of {allowed}{unit}")
}

/// Entries that the pool reserves address space for in each table; a larger limit has no effect.
pub const POOLED_TABLE_ENTRIES: usize = 100_000;

/// Limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Fuel: about one unit for each WebAssembly instruction.
    pub fuel: u64,
    /// Wall-clock time from the permit to the result, host calls included.
    pub time: Duration,
    /// The same of a call that runs as a job.
    pub job_time: Duration,
    /// Bytes of linear memory in all.
    pub memory: usize,
    /// Entries in one table.
    pub table_entries: usize,
    /// Handles open at once.
    pub handles: usize,
    /// Host calls in all, of every capability and of the inert floor.
    pub host_calls: u64,
    /// Bytes that all host calls together carry in and out.
    pub host_bytes: u64,
    /// Bytes that the guest passes in one host call.
    pub host_call_bytes: usize,
    /// Refused host calls; one more ends the call.
    pub refusals: u64,
    /// Bytes of the result.
    pub output: usize,
    /// Bytes of log lines.
    pub log_bytes: usize,
    /// Calls in a row of one agent and tool that failed or were refused, after which it must wait.
    pub failures: u64,
    /// How long it must wait then.
    pub pause: Duration,
    /// Bounds on the arguments.
    pub arguments: json::Limits,
    /// Bounds on each HTTP request.
    pub http: HttpLimits,
}

/// Limits under which a plugin says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescribeLimits {
    /// Fuel.
    pub fuel: u64,
    /// Wall-clock time.
    pub time: Duration,
}

impl Default for DescribeLimits {
    fn default() -> Self {
        // A statement, not a computation; a Python runtime takes a second to begin with.
        Self {
            fuel: 200_000_000,
            time: Duration::from_secs(2),
        }
    }
}

/// Limits of one HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of the request's body.
    pub request_body: usize,
    /// Bytes of the response's body, as it comes, before any decompression.
    pub response_body: usize,
    /// Header fields, each way.
    pub header_fields: usize,
    /// Bytes of all header fields, each way.
    pub header_bytes: usize,
    /// Looking up the name and connecting, TLS included.
    pub connect: Duration,
    /// From the request sent to the response's head.
    pub first_byte: Duration,
    /// Between two pieces of the response.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            // About a second of this machine's time: enough to turn a large page into Markdown, and too
            // little for a loop to matter.
            fuel: 2_000_000_000,
            // Models and their clients give up at 60 s; leave them time to hear why.
            time: Duration::from_secs(30),
            // Nobody waits for it at a screen; what computes is stopped by its fuel long before.
            job_time: Duration::from_secs(10 * 60),
            // A QuickJS or a Go runtime with a few MiB of data fits; Python needs it raised.
            memory: 64 << 20,
            // A table entry costs the host 16 bytes; language runtimes use a few thousand.
            table_entries: 20_000,
            // Wasmtime's own default is 1,000,000: memory that the guest controls in the host.
            handles: 1_024,
            // A page read in 64 KiB pieces makes hundreds; a storm makes millions.
            host_calls: 100_000,
            // Several responses of the largest size.
            host_bytes: 64 << 20,
            // Wasmtime's own default is 128 MiB in each call.
            host_call_bytes: 4 << 20,
            // A plugin that probes for a gap is told no a few times, not thousands.
            refusals: 32,
            // Far more than a model can read; a client's own limits are near this.
            output: 1 << 20,
            // A few hundred lines.
            log_bytes: 64 << 10,
            // A model that corrects itself needs a handful.
            failures: 20,
            pause: Duration::from_secs(10),
            arguments: json::Limits::default(),
            http: HttpLimits::default(),
        }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            // An API request; uploads are not what tools are for.
            request_body: 1 << 20,
            // Nearly every page and API reply; the plugin's memory holds it several times over.
            response_body: 4 << 20,
            // Browsers stop at about 100 and 256 KiB; more than 32k panicked a host (RUSTSEC-2026-0021).
            header_fields: 100,
            header_bytes: 64 << 10,
            // Three SYN attempts.
            connect: Duration::from_secs(7),
            first_byte: Duration::from_secs(15),
            idle: Duration::from_secs(5),
            total: Duration::from_secs(25),
        }
    }
}

/// How often one agent may ask, over all of its sessions and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second, for as long as it likes.
    pub per_second: u32,
    /// Requests at once, after it has asked for nothing for a while.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            // A model makes a few calls a second, a program that drives tools some hundred; beyond this
            // one of them would have the processors to itself.
            per_second: 1_000,
            // A program that starts with all that it has to do.
            burst: 5_000,
        }
    }
}

/// Calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Of one plugin.
    pub plugin: usize,
    /// Of one agent.
    pub agent: usize,
    /// In all. Also the number of slots that the runtime reserves address space for.
    pub host: usize,
    /// How long a call waits for a free place before it is refused.
    pub wait: Duration,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            plugin: 64,
            // Half of the host's, so that one agent never takes all of it.
            agent: 64,
            host: 128,
            // Shorter than any client's patience, longer than a burst.
            wait: Duration::from_secs(2),
        }
    }
}
