//! What a token may cost: looked at before any of it is evaluated.

use biscuit_auth::builder::{Binary, CheckKind, Op, Unary};
use biscuit_auth::datalog::RunLimits;
use biscuit_auth::{AuthorizerBuilder, Biscuit};
use std::time::Duration;

use super::TokenFault;

pub(super) const MAX_BLOCKS: usize = 9;
const MAX_FACTS: usize = 64;
const MAX_CHECKS: usize = 32;
const MAX_QUERIES: usize = 32;
const MAX_PREDICATES: usize = 2;
const MAX_OPERATIONS: usize = 64;

pub(super) fn limits() -> RunLimits {
    RunLimits {
        max_facts: 256,
        max_iterations: 16,
        max_time: Duration::from_millis(50),
    }
}

/// Refuses a token that would cost more than a decision may.
pub(super) fn bounded(token: &Biscuit) -> Result<(), TokenFault> {
    let excess = |what: &str| TokenFault::invalid(format!("a step token with {what}"));
    if token.block_count() > MAX_BLOCKS {
        return Err(excess("too many blocks"));
    }
    for index in 0..token.block_count() {
        if !matches!(token.block_external_key(index), Ok(None)) {
            return Err(excess("a block of a third party"));
        }
    }
    // Reads every block and runs nothing. What it gives is complete, since all of it was read.
    let (facts, rules, checks, _) = AuthorizerBuilder::new()
        .build(token)
        .map_err(|error| excess(&format!("a block that can't be read: {error}")))?
        .dump();
    if facts.len() > MAX_FACTS {
        return Err(excess("too many facts"));
    }
    if !rules.is_empty() {
        return Err(excess("rules, where only checks may be"));
    }
    let queries = || checks.iter().flat_map(|check| &check.queries);
    if checks.len() > MAX_CHECKS || queries().count() > MAX_QUERIES {
        return Err(excess("too many checks"));
    }
    if checks.iter().any(|check| check.kind != CheckKind::One) {
        return Err(excess("a check that is no `check if`"));
    }
    for query in queries() {
        let operations: usize = query.expressions.iter().map(|e| e.ops.len()).sum();
        if query.body.len() > MAX_PREDICATES || operations > MAX_OPERATIONS {
            return Err(excess("a check that is too long"));
        }
        if !query.scopes.is_empty() {
            return Err(excess("a check that trusts other blocks"));
        }
        let plain = |op: &Op| match op {
            Op::Value(_) => true,
            Op::Unary(unary) => !matches!(unary, Unary::Ffi(_)),
            Op::Binary(binary) => !matches!(
                binary,
                Binary::Regex | Binary::Ffi(_) | Binary::All | Binary::Any | Binary::TryOr
            ),
            Op::Closure(..) => false,
        };
        if !query.expressions.iter().flat_map(|e| &e.ops).all(plain) {
            return Err(excess("a check with a pattern or a closure"));
        }
    }
    Ok(())
}
