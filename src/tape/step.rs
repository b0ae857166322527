//! One host call on a tape: what was asked, in words that people can compare, and what was given.

use std::borrow::Cow;

use super::form::{Reader, Taped, Writer};
use crate::digest::Digest;
use crate::reason::{Reason, Refusal};

/// A value of what was asked that is longer than this stands as its digest: a difference is found all
/// the same, and a tape need not hold what the plugin computed from it anyway.
const LONGEST: usize = 1 << 10;

macro_rules! functions {
    ($($variant:ident = $code:literal, $name:literal;)*) => {
        /// A function that the host offers to plugins, and whose answer a tape has.
        ///
        /// The numbers are the format's: one is never used again for another function.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function {
            $($variant = $code,)*
        }

        impl Function {
            /// Its name in the contract or in WASI.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            const fn of_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}

functions! {
    ClockNow = 1, "clock.now";
    RandomBytes = 2, "random.bytes";
    SettingsGet = 3, "settings.get";
    LogWrite = 4, "log.write";
    ProgressReport = 5, "progress.report";
    HttpOpen = 6, "http.open";
    HttpSend = 7, "http.send";
    SecretsOpen = 8, "secrets.open";
    SecretPlaceholder = 9, "secret.placeholder";
    SecretReveal = 10, "secret.reveal";
    ClientOffers = 11, "client.offers-of-client";
    ClientLog = 12, "client.log";
    ClientToolsChanged = 13, "client.tools-changed";
    ClientPromptsChanged = 14, "client.prompts-changed";
    ClientResourcesChanged = 15, "client.resources-changed";
    ClientResourceUpdated = 16, "client.resource-updated";
    MonotonicNow = 32, "wasi:clocks/monotonic-clock.now";
    MonotonicResolution = 33, "wasi:clocks/monotonic-clock.resolution";
    SubscribeInstant = 34, "wasi:clocks/monotonic-clock.subscribe-instant";
    SubscribeDuration = 35, "wasi:clocks/monotonic-clock.subscribe-duration";
    WasiRandomBytes = 40, "wasi:random/random.get-random-bytes";
    WasiRandomNumber = 41, "wasi:random/random.get-random-u64";
    InsecureBytes = 42, "wasi:random/insecure.get-insecure-random-bytes";
    InsecureNumber = 43, "wasi:random/insecure.get-insecure-random-u64";
    InsecureSeed = 44, "wasi:random/insecure-seed.insecure-seed";
    Poll = 48, "wasi:io/poll.poll";
    PollableReady = 49, "wasi:io/poll.ready";
    PollableBlock = 50, "wasi:io/poll.block";
}

/// What a plugin asked the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) function: Function,
    pub(crate) fields: Fields,
}

/// The parameters of a host call, each by a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(Cow<'static, str>, Value)>);

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    /// Of what is long, or is no text.
    Digest(u64, Digest),
}

impl Fields {
    pub(crate) fn text(&mut self, name: impl Into<Cow<'static, str>>, text: &str) {
        let value = if text.len() <= LONGEST {
            Value::Text(text.to_owned())
        } else {
            Value::of(text.as_bytes())
        };
        self.0.push((name.into(), value));
    }

    pub(crate) fn bytes(&mut self, name: &'static str, bytes: &[u8]) {
        self.0.push((name.into(), Value::of(bytes)));
    }

    pub(crate) fn number(&mut self, name: &'static str, number: u64) {
        self.0.push((name.into(), Value::Number(number)));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl Value {
    fn of(bytes: &[u8]) -> Self {
        Self::Digest(bytes.len() as u64, Digest::of(bytes))
    }
}

impl std::fmt::Display for Value {
    /// May hold what a plugin wrote: escaped by whoever shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Digest(length, digest) => write!(f, "{length} bytes, {digest}"),
        }
    }
}

impl Taped for Value {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Text(text) => {
                to.byte(0);
                to.text(text);
            }
            Self::Number(number) => {
                to.byte(1);
                to.number(*number);
            }
            Self::Digest(length, digest) => {
                to.byte(2);
                to.number(*length);
                to.raw(digest.as_bytes());
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match from.byte()? {
            0 => Some(Self::Text(from.text()?.to_owned())),
            1 => Some(Self::Number(from.number()?)),
            2 => Some(Self::Digest(
                from.number()?,
                Digest::from_bytes(from.array()?),
            )),
            _ => None,
        }
    }
}

impl Taped for Asked {
    fn write(&self, to: &mut Writer) {
        to.byte(self.function as u8);
        to.number(self.fields.0.len() as u64);
        for (name, value) in &self.fields.0 {
            to.text(name);
            value.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let function = Function::of_code(from.byte()?)?;
        let count = from.count()?;
        let field = |from: &mut Reader<'_>| {
            let name = from.text()?.to_owned();
            Some((name.into(), Value::read(from)?))
        };
        let fields: Option<_> = (0..count).map(|_| field(from)).collect();
        Some(Self {
            function,
            fields: Fields(fields?),
        })
    }
}

/// What the host gave.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    /// An answer, in the form of its own type.
    Answer(Vec<u8>),
    /// The end of the instance.
    End(Refusal),
    /// Nothing: the call was stopped from outside while it waited.
    Nothing,
}

/// A refusal stands on a tape without its ground and approval: an instance sees neither.
impl Taped for Refusal {
    fn write(&self, to: &mut Writer) {
        to.text(self.reason.code());
        to.text(&self.message);
        self.detail.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let code = from.text()?;
        let reason = *Reason::ALL.iter().find(|reason| reason.code() == code)?;
        let message = from.text()?.to_owned();
        let detail: Option<String> = Taped::read(from)?;
        let refusal = Self::new(reason, message);
        Some(match detail {
            Some(detail) => refusal.with_detail(detail),
            None => refusal,
        })
    }
}

impl Taped for Given {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Answer(bytes) => {
                to.byte(0);
                to.bytes(bytes);
            }
            Self::End(refusal) => {
                to.byte(1);
                refusal.write(to);
            }
            Self::Nothing => to.byte(2),
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match from.byte()? {
            0 => Some(Self::Answer(from.bytes()?.to_vec())),
            1 => Refusal::read(from).map(Self::End),
            2 => Some(Self::Nothing),
            _ => None,
        }
    }
}

/// One host call.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) asked: Asked,
    pub(crate) given: Given,
}

impl Taped for Step {
    fn write(&self, to: &mut Writer) {
        self.asked.write(to);
        self.given.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            asked: Asked::read(from)?,
            given: Given::read(from)?,
        })
    }
}
