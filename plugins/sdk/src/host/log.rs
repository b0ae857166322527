//! Lines for the operator's log. Need no requirement.

use std::fmt::Display;

use crate::bindings::tollgate::plugin::log::{Level, write};

/// For following single steps.
pub fn trace(message: impl Display) {
    write(Level::Trace, &message.to_string());
}

/// For finding faults.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message.to_string());
}

/// For the operator to know.
pub fn info(message: impl Display) {
    write(Level::Info, &message.to_string());
}

/// For the operator to look at.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message.to_string());
}

/// For the operator to mend.
pub fn error(message: impl Display) {
    write(Level::Error, &message.to_string());
}
