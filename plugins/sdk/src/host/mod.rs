//! What the host offers, one module per interface of `wit/`.

pub mod client;
pub mod clock;
pub mod http;
pub mod log;
pub mod progress;
pub mod random;
pub mod secrets;
pub mod settings;
