//! Values that the operator gives this plugin. Each needs its requirement.

use crate::Error;
use crate::bindings::tollgate::plugin::settings;

/// The operator's value, or the requirement's default, or none.
pub fn get(name: &str) -> Result<Option<String>, Error> {
    settings::get(name).map_err(Error::from_host)
}

/// The same, where the tool can do nothing without it.
pub fn require(name: &str) -> Result<String, Error> {
    get(name)?.ok_or_else(|| Error::failed(format_args!("the operator has not set `{name}`")))
}
