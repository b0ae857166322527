//! A whole tape, opened: what the call was, each of its host calls, and how it ended.

use std::time::Duration;

use super::form::{Reader, Taped, Writer};
use super::step::Step;
use crate::digest::Digest;
use crate::journal::record::CallId;
use crate::limits::CallLimits;
use crate::reason::Refusal;

/// What a call was before it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) call: CallId,
    /// `<plugin>.<tool>`.
    pub(crate) tool: String,
    /// Digest of the component.
    pub(crate) plugin: Digest,
    /// Version of the host.
    pub(crate) host: String,
    /// Digest of what decides whether compiled code fits: another engine may count fuel otherwise.
    pub(crate) engine: Digest,
    pub(crate) limits: Limits,
    /// The canonical text of the arguments.
    pub(crate) arguments: String,
}

/// The limits that an instance can run into, as they were for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    fuel: u64,
    time: u64,
    memory: u64,
    table_entries: u64,
    handles: u64,
    host_calls: u64,
    host_call_bytes: u64,
    output: u64,
    log_bytes: u64,
    depth: u64,
}

impl Limits {
    /// Those of `limits` that an instance can run into by itself.
    pub(crate) fn of(limits: &CallLimits) -> Self {
        Self {
            fuel: limits.fuel,
            time: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
            memory: limits.memory as u64,
            table_entries: limits.table_entries as u64,
            handles: limits.handles as u64,
            host_calls: limits.host_calls,
            host_call_bytes: limits.host_call_bytes as u64,
            output: limits.output as u64,
            log_bytes: limits.log_bytes as u64,
            depth: limits.arguments.depth as u64,
        }
    }

    /// The limits of a replay. What host calls carried is not counted again: the tape has what came of it.
    pub(crate) fn for_replay(&self) -> CallLimits {
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let mut limits = CallLimits {
            fuel: self.fuel,
            time: Duration::from_millis(self.time),
            memory: size(self.memory),
            table_entries: size(self.table_entries),
            handles: size(self.handles),
            host_calls: self.host_calls,
            host_call_bytes: size(self.host_call_bytes),
            output: size(self.output),
            log_bytes: size(self.log_bytes),
            ..CallLimits::default()
        };
        limits.arguments.depth = size(self.depth);
        limits
    }

    const fn numbers(&self) -> [u64; 10] {
        [
            self.fuel,
            self.time,
            self.memory,
            self.table_entries,
            self.handles,
            self.host_calls,
            self.host_call_bytes,
            self.output,
            self.log_bytes,
            self.depth,
        ]
    }
}

/// How the instance ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// Fuel used.
    pub(crate) fuel: u64,
    /// Digest of what the plugin's `call` returned, before the host bounded and redacted it; or why it
    /// returned nothing.
    pub(crate) answer: Result<Digest, Refusal>,
}

/// A tape.
#[derive(Debug, Clone)]
pub(crate) struct Tape {
    pub(crate) head: Head,
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
}

impl Taped for Digest {
    fn write(&self, to: &mut Writer) {
        to.raw(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.array().map(Self::from_bytes)
    }
}

impl Taped for Head {
    fn write(&self, to: &mut Writer) {
        to.raw(self.call.0.as_bytes());
        to.text(&self.tool);
        self.plugin.write(to);
        to.text(&self.host);
        self.engine.write(to);
        for number in self.limits.numbers() {
            to.number(number);
        }
        to.text(&self.arguments);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            call: CallId(uuid::Uuid::from_bytes(from.array()?)),
            tool: Taped::read(from)?,
            plugin: Taped::read(from)?,
            host: Taped::read(from)?,
            engine: Taped::read(from)?,
            limits: Limits {
                fuel: from.number()?,
                time: from.number()?,
                memory: from.number()?,
                table_entries: from.number()?,
                handles: from.number()?,
                host_calls: from.number()?,
                host_call_bytes: from.number()?,
                output: from.number()?,
                log_bytes: from.number()?,
                depth: from.number()?,
            },
            arguments: Taped::read(from)?,
        })
    }
}

impl Taped for End {
    fn write(&self, to: &mut Writer) {
        to.number(self.fuel);
        self.answer.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            fuel: from.number()?,
            answer: Taped::read(from)?,
        })
    }
}

impl Tape {
    /// Reads the text of a tape. The steps end where a byte says so, and nothing follows the end.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let mut from = Reader::new(text);
        let head = Head::read(&mut from)?;
        let mut steps = Vec::new();
        while bool::read(&mut from)? {
            steps.push(Step::read(&mut from)?);
        }
        let end = End::read(&mut from)?;
        from.is_over().then_some(Self { head, steps, end })
    }
}
