//! Tests of the whole host: real components, real servers on loopback, and the real binary.
//!
//! One binary, so that Wasmtime is linked once. Time, names and connections are injected; the guard
//! is the host's own, always. Nothing sleeps: a test waits for what it wants to see.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests"
)]

mod harness;
mod servers;
mod upstream;

mod admin;
mod approvals;
mod attacks;
mod backup;
mod binary;
mod contract;
mod crash;
mod daemon;
mod evidence;
mod fairness;
mod formats;
mod founding;
mod handoff;
mod jobs;
mod journal;
mod leases;
mod limits;
mod load;
mod oauth;
mod oidc;
mod people;
mod pins;
mod plugins;
mod policies;
mod proof;
mod protocol;
mod records;
mod revoke;
mod secrets;
mod shipped;
mod slice;
mod steps;
mod tape;
mod tasks;
mod telemetry;
mod tokens;
mod verifier;
mod webhook;
