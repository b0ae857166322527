//! Lint.
use super::load::{Finding, PluginPolicies};
use super::source::Source;
use crate::name::PluginName;
use std::collections::BTreeMap;

pub(super) fn own(_source: &Source, _policies: &PluginPolicies) -> Vec<Finding> {
    Vec::new()
}
pub(super) fn shared(
    _source: &Source,
    _plugins: &BTreeMap<PluginName, PluginPolicies>,
) -> Vec<Finding> {
    Vec::new()
}
