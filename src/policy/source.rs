//! Policy files: text to rules, each with its place.

use std::sync::Arc;

use cedar_policy::{ActionConstraint, Effect, Policy, PolicyId, PolicySet};
use miette::Diagnostic;

use super::PolicyRef;
use super::context::Mentioned;
use super::entities::chain;
use super::load::{Finding, Severity};
use super::vocabulary::APPROVE;

/// One rule of a file.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// As its author finds it.
    pub(super) reference: PolicyRef,
    /// Byte offset of its start in the file.
    pub(super) offset: usize,
    /// Its id in Cedar, `<file>#<position>`, is unique in the set.
    pub(super) policy: Policy,
}

impl Rule {
    pub(super) fn permits(&self) -> bool {
        self.policy.effect() == Effect::Permit
    }

    /// The actions that its scope names; none where it leaves the action open.
    pub(super) fn actions(&self) -> Vec<cedar_policy::EntityUid> {
        match self.policy.action_constraint() {
            ActionConstraint::Any => Vec::new(),
            ActionConstraint::Eq(uid) => vec![uid],
            ActionConstraint::In(uids) => uids,
        }
    }

    /// Whether its scope leaves this action open. A permit that leaves every action open is about what
    /// agents do: to let a person approve, a rule must say so.
    pub(super) fn meets(&self, action: &str) -> bool {
        let group = action.split(':').next().unwrap_or_default();
        match self.policy.action_constraint() {
            ActionConstraint::Any => !(group == APPROVE && self.permits()),
            _ => self.actions().iter().any(|uid| {
                let id = uid.id().unescaped();
                id == action || id == group
            }),
        }
    }

    /// Whether it looks at what people agreed to.
    pub(super) fn asks(&self) -> bool {
        let mut seen = Mentioned::default();
        match self.policy.to_json() {
            Ok(tree) => seen.add(&tree),
            Err(_) => return false,
        }
        seen.key("approved") || seen.key("approvers")
    }
}

/// A file that parsed.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: String,
    pub(super) text: Arc<str>,
    pub(super) rules: Vec<Rule>,
}

impl Source {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// What is wrong, each with its place.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let set: PolicySet = text.parse().map_err(|faults: cedar_policy::ParseErrors| {
            faults
                .iter()
                .map(|fault| finding(file, text, 0, Severity::Error, fault))
                .collect::<Vec<_>>()
        })?;
        if let Some(template) = set.templates().next() {
            return Err(vec![Finding {
                severity: Severity::Error,
                file: file.to_owned(),
                line: 1,
                column: 1,
                message: format!(
                    "`{}` is a template (`?principal`, `?resource`)",
                    template.id()
                ),
                help: "name the principal and the resource in the rule's scope".to_owned(),
            }]);
        }
        let mut policies: Vec<(usize, Policy)> = set
            .policies()
            .map(|policy| (offset(policy), policy.clone()))
            .collect();
        policies.sort_by_key(|(offset, _)| *offset);
        let rules = policies
            .into_iter()
            .enumerate()
            .map(|(i, (offset, policy))| {
                let unique = format!("{file}#{}", i + 1);
                let (line, _) = position(text, offset);
                Rule {
                    reference: PolicyRef {
                        id: policy.annotation("id").unwrap_or(&unique).to_owned(),
                        file: file.to_owned(),
                        line,
                    },
                    offset,
                    policy: policy.new_id(PolicyId::new(&unique)),
                }
            })
            .collect();
        Ok(Self {
            file: file.to_owned(),
            text: text.into(),
            rules,
        })
    }
}

/// Where the policy starts in its file.
fn offset(policy: &Policy) -> usize {
    let inner = policy.as_ref();
    inner.loc().map_or(0, |loc| loc.start())
}

/// Line and column, from 1, of a byte offset. Columns count characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// A finding for what Cedar says about `text`. Where Cedar knows no place, it is `otherwise`.
pub(super) fn finding(
    file: &str,
    text: &str,
    otherwise: usize,
    severity: Severity,
    fault: &(impl Diagnostic + ?Sized),
) -> Finding {
    let offset = fault
        .labels()
        .and_then(|mut labels| labels.next())
        .map_or(otherwise, |label| label.offset());
    let (line, column) = position(text, offset);
    let mut message = fault.to_string();
    if let Some(source) = fault.source() {
        let cause = chain(source);
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    // Cedar names the policy by our inner id; the place says it better.
    let message = match message.split_once("`, ") {
        Some((head, rest)) if head.starts_with("for policy `") => rest.to_owned(),
        _ => message,
    };
    Finding {
        severity,
        file: file.to_owned(),
        line,
        column,
        message: message.replace('\n', " "),
        help: fault
            .help()
            .map(|help| help.to_string().replace('\n', " "))
            .unwrap_or_default(),
    }
}
