//! Calling the host too often, or with too much.

use tollgate_plugin::prelude::*;

use crate::Count;
use crate::word::Word;

/// Calls one capability so many times; ends at the first refusal.
#[tool(uses = ["clock", "random", "greeting"])]
pub(crate) fn storm(arguments: Storm) -> Json<Word> {
    for turn in 0..arguments.n {
        let done = match arguments.capability {
            Capability::Log => {
                log::info(format_args!("line {turn}"));
                Ok(())
            }
            Capability::Clock => clock::now().map(drop),
            Capability::Random => random::bytes(32).map(drop),
            Capability::Settings => settings::get("greeting").map(drop),
            Capability::Progress => {
                progress::report(f64::from(turn), None, None);
                Ok(())
            }
        };
        if let Err(error) = done {
            return Json(Word {
                value: Some(turn.to_string()),
                ..error.into()
            });
        }
    }
    Json(Ok(arguments.n.to_string()).into())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storm {
    capability: Capability,
    n: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Capability {
    Log,
    Clock,
    Random,
    Settings,
    Progress,
}

/// Asks so many times for what is never granted, and minds no refusal. Gives the last reason.
#[tool]
pub(crate) fn refused_storm(arguments: Count) -> Json<Word> {
    let mut last = Word::default();
    for _ in 0..arguments.n {
        last = http::open("nowhere").map(|_| String::new()).into();
    }
    Json(last)
}

/// Passes a string of so many bytes to the host.
#[tool]
pub(crate) fn big_argument(arguments: Bytes) -> &'static str {
    log::info("a".repeat(arguments.bytes as usize));
    "passed"
}

/// Asks for so many random bytes at once, of the host's interface or of WASI's.
#[tool(uses = ["random"])]
pub(crate) fn random_bulk(arguments: RandomBulk) -> Json<Word> {
    Json(match arguments.of {
        Of::Tollgate => random::bytes(arguments.bytes)
            .map(|bytes| bytes.len().to_string())
            .into(),
        Of::Wasi => Ok(wasi::random(u64::from(arguments.bytes)).len().to_string()).into(),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bytes {
    bytes: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RandomBulk {
    bytes: u32,
    of: Of,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Of {
    Tollgate,
    Wasi,
}

pub(crate) mod wasi {
    //! `wasi:random/random`, which no part of Rust's library takes that a plugin would use.
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        reason = "generated"
    )]

    wit_bindgen::generate!({
        inline: "
            package tollgate:probe;

            world wasi {
              import wasi:random/random@0.2.6;
              import wasi:clocks/monotonic-clock@0.2.6;
            }

            package wasi:random@0.2.6 {
              interface random {
                get-random-bytes: func(len: u64) -> list<u8>;
                get-random-u64: func() -> u64;
              }
            }

            package wasi:clocks@0.2.6 {
              interface monotonic-clock {
                use wasi:io/poll@0.2.6.{pollable};
                type instant = u64;
                type duration = u64;
                now: func() -> instant;
                resolution: func() -> duration;
                subscribe-instant: func(when: instant) -> pollable;
                subscribe-duration: func(when: duration) -> pollable;
              }
            }

            package wasi:io@0.2.6 {
              interface poll {
                resource pollable {
                  ready: func() -> bool;
                  block: func();
                }
                poll: func(in: list<borrow<pollable>>) -> list<u32>;
              }
            }
        ",
        world: "tollgate:probe/wasi",
        generate_all,
        type_section_suffix: "probe",
    });

    pub(crate) fn random(length: u64) -> Vec<u8> {
        wasi::random::random::get_random_bytes(length)
    }

    /// Nanoseconds; Rust's own clock takes the one on the wall along.
    pub(crate) fn now() -> u64 {
        wasi::clocks::monotonic_clock::now()
    }

    pub(crate) fn number() -> u64 {
        wasi::random::random::get_random_u64()
    }
}
