//! Policy: whether a call may run, and whether each of its host calls may reach out.
//!
//! The only module that knows Cedar. It trusts the operator's files under `policies/` once they are
//! validated against a schema that is generated from what the plugins declare, and nothing else:
//! arguments are data, whatever their keys look like. It promises that a [`Permit`] or a
//! [`Checked`] value exists only where policy allowed exactly that; that any doubt (a file that
//! does not validate, a rule that fails to evaluate, a question that does not fit the schema)
//! refuses; and that one plugin's broken file never changes another's answers.

mod approve;
mod argument;
mod cases;
mod chain;
mod context;
mod decide;
mod entities;
mod explain;
mod finding;
mod ground;
mod lint;
mod literal;
mod load;
mod may;
mod question;
mod round;
mod schema;
mod slice;
mod source;
mod standing;
mod starter;
mod supposed;
mod validate;
mod verdict;
mod vocabulary;

pub use approve::Hold;
pub use argument::Unmapped;
pub use cases::{CaseResult, run_cases};
pub use explain::{Condition, ExplainedRule, Explanation};
pub use ground::{Ground, PolicyRef};
pub use load::{Finding, Loaded, PluginFacts, PolicySet, Severity};
pub use question::{
    ApproveQuestion, CallFacts, CallQuestion, Fact, HostQuestion, RoundFacts, Target, TaskFacts,
};
pub use starter::starter;
pub use supposed::{Supposed, SupposedRequest, requirement_to};
pub use verdict::{Checked, HostVerdict, Permit, Verdict};
pub use vocabulary::HostAction;

#[cfg(test)]
mod tests;
