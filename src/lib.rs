//! Tollgate: a host that lets language models use tools.
//!
//! The model is an untrusted decision component: it proposes, and is never the authorizer. Tools
//! are WebAssembly components; policies say which agent may call what and what each call may reach;
//! every call gets a fresh instance with only those handles; and everything that is done is written
//! down before it is done.
//!
//! # The life of a call, module by module
//!
//! | step | module |
//! | --- | --- |
//! | a `tools/call` arrives and is read strictly | [`mcp`], [`json`] |
//! | transport facts become an agent, or a chain of them | [`identity`], [`handoff`] |
//! | the task that it is on, with budgets and an end; what was revoked | [`task`], [`revocation`] |
//! | the call's entry is opened: what can't be written is not done | [`call`], [`journal`] |
//! | the call question: a permit, a hold, a refusal | [`policy`] |
//! | a hold waits for a person, and a person's answer becomes a permit, once | [`approval`] |
//! | requirements that policy leaves open become grants | [`grant`], [`plugin`] |
//! | where its client does not wait, it runs as a job | [`job`] |
//! | grants become an instance, under fuel, time and memory | [`runtime`] |
//! | each host call: canonicalise, decide, record, act, bound | `capability`, [`egress`], [`secret`], [`lease`] |
//! | the result is bounded, checked and redacted; the entry is closed | [`call`] |
//!
//! People answer approvals and administer over [`admin`]. [`host`] puts the parts together, [`daemon`] lets thin clients share one, [`control`] is what its
//! operator may ask of it and [`cli`] what people type. [`telemetry`] tells monitoring. What all of them
//! share: [`name`], [`id`], [`digest`], [`reason`], [`limits`], [`clock`], [`entropy`].
#![deny(unsafe_code)]

pub mod admin;
pub mod approval;
pub mod backup;
pub mod call;
mod capability;
pub mod cli;
pub mod clock;
pub mod config;
mod connections;
pub mod control;
pub mod daemon;
pub mod digest;
pub mod egress;
pub mod entropy;
pub mod grant;
pub mod handoff;
pub mod home;
pub mod host;
pub mod id;
pub mod identity;
pub mod job;
pub mod journal;
pub mod json;
pub mod lease;
pub mod limits;
pub mod mcp;
pub mod name;
pub mod plugin;
pub mod policy;
pub mod private;
pub mod reason;
pub mod revocation;
mod running;
pub mod runtime;
pub mod secret;
pub mod state;
pub mod tape;
pub mod task;
pub mod telemetry;
pub mod webhook;
