//! Which rules a question can meet, found ahead of it.
//!
//! A scope is decided by entities alone, so for one agent, user, action and resource the rules whose
//! scope matches are picked once and kept, with the entities. A decision then costs what these few
//! rules cost, however many others are loaded.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, RwLock};

use cedar_policy::{
    ActionConstraint, Entities, Entity, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};

use crate::name::ToolName;

use super::PolicyRef;
use super::context::Mentioned;
use super::entities::{self, Directory};
use super::source::Rule;
use super::vocabulary::APPROVE;

/// The most questions kept. Origins can be many under an open requirement, and a plugin chooses
/// them; an entry is a few KiB.
const MAX_KEPT: usize = 4_096;

/// One question, but for its context.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) principal: EntityUid,
    pub(super) user: Option<EntityUid>,
    /// The agent that a person answers.
    pub(super) asker: Option<EntityUid>,
    pub(super) group: &'static str,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
    pub(super) plugin: EntityUid,
}

/// A question's subject as the host writes it.
pub(super) struct Asked<'a> {
    /// An agent; a person, where the group is `approve`.
    pub(super) principal: &'a str,
    /// The agent that a person answers.
    pub(super) asker: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) group: &'static str,
    pub(super) tool: &'a ToolName,
    pub(super) resource: (&'static str, &'a str),
}

impl Asked<'_> {
    pub(super) fn action(&self) -> String {
        format!("{}:{}", self.group, self.tool)
    }

    /// No two subjects share a key: what stands before the user has no control characters, and the
    /// user's length stands before it.
    pub(super) fn key(&self) -> String {
        let user = self.user.unwrap_or_default();
        format!(
            "{}\n{}\n{}\n{}\n{}{}\n{user}{}",
            self.principal,
            self.asker.unwrap_or_default(),
            self.group,
            self.tool,
            if self.user.is_some() { "u" } else { "-" },
            user.len(),
            self.resource.1
        )
    }

    pub(super) fn subject(&self) -> Subject {
        let plugin = entities::plugin(self.tool.plugin());
        Subject {
            principal: match self.group {
                APPROVE => entities::user(self.principal),
                _ => entities::agent(self.principal),
            },
            user: self.user.map(entities::user),
            asker: self.asker.map(entities::agent),
            group: self.group,
            action: entities::action(self.action()),
            resource: match self.resource {
                ("tool", _) => entities::tool(self.tool),
                ("prompt", _) => entities::prompt(self.tool),
                ("resource", _) => entities::resource(self.tool),
                ("origin", id) => entities::origin(id),
                ("secret", id) => entities::secret(id),
                _ => plugin.clone(),
            },
            plugin,
        }
    }
}

/// What is ready for a question.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) subject: Subject,
    pub(super) policies: cedar_policy::PolicySet,
    pub(super) entities: Entities,
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) seen: Mentioned,
}

impl Prepared {
    pub(super) fn of(
        subject: Subject,
        rules: &[Arc<Rule>],
        directory: &Directory,
    ) -> Result<Self, String> {
        let scope = Scope::of(&subject, directory);
        let mut policies = cedar_policy::PolicySet::new();
        let mut kept = Vec::new();
        let mut seen = Mentioned::default();
        for rule in rules {
            if scope.matches(&rule.policy) {
                policies
                    .add(rule.policy.clone())
                    .map_err(|error| error.to_string())?;
                match rule.policy.to_json() {
                    Ok(tree) => seen.add(&tree),
                    Err(_) => seen.add_everything(),
                }
                kept.push(Arc::clone(rule));
            }
        }
        let entities = scope.entities(&kept, directory)?;
        Ok(Self {
            subject,
            policies,
            entities,
            rules: kept,
            seen,
        })
    }

    /// The persons whose agreement its rules could name: those that they name, and the one on whose
    /// behalf the agent acts. Nobody, where they don't look at who agreed.
    pub(super) fn people(&self) -> BTreeSet<String> {
        if !self.seen.key("approvers") {
            return BTreeSet::new();
        }
        self.rules
            .iter()
            .flat_map(|rule| rule.policy.entity_literals())
            .filter(|uid| uid.type_name().basename() == "User")
            .chain(self.subject.user.clone())
            .map(|uid| uid.id().unescaped().to_owned())
            .collect()
    }

    /// What the rule says, wherever it stands in its file; none where it is not among these.
    pub(super) fn says(&self, reference: &PolicyRef) -> Option<Vec<u8>> {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.reference == *reference)?;
        let tree = rule.policy.to_json().ok()?;
        Some(tree.to_string().into_bytes())
    }

    /// The rules of these ids, as their authors find them; in the order of their files.
    pub(super) fn references<'a>(
        &self,
        ids: impl Iterator<Item = &'a cedar_policy::PolicyId>,
    ) -> Vec<PolicyRef> {
        let mut found: Vec<PolicyRef> = ids
            .filter_map(|id| self.rules.iter().find(|rule| rule.policy.id() == id))
            .map(|rule| rule.reference.clone())
            .collect();
        found.sort_by(|a, b| (&a.file, a.line, &a.id).cmp(&(&b.file, b.line, &b.id)));
        found
    }
}

/// Whom and what a question is about, with everything that each is in.
pub(super) struct Scope<'a> {
    subject: &'a Subject,
    principal: HashSet<EntityUid>,
    user: Option<HashSet<EntityUid>>,
    action: HashSet<EntityUid>,
    resource: HashSet<EntityUid>,
}

impl<'a> Scope<'a> {
    pub(super) fn of(subject: &'a Subject, directory: &Directory) -> Self {
        Self {
            principal: directory.closure(&subject.principal),
            user: subject.user.as_ref().map(|user| directory.closure(user)),
            action: HashSet::from([subject.action.clone(), entities::action(subject.group)]),
            resource: HashSet::from([subject.resource.clone(), subject.plugin.clone()]),
            subject,
        }
    }

    pub(super) fn matches(&self, policy: &Policy) -> bool {
        self.matches_principal(policy)
            && self.matches_action(policy)
            && self.matches_resource(policy)
    }

    pub(super) fn matches_principal(&self, policy: &Policy) -> bool {
        let kind = self.subject.principal.type_name();
        match policy.principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Eq(uid) => uid == self.subject.principal,
            PrincipalConstraint::In(uid) => self.principal.contains(&uid),
            PrincipalConstraint::Is(name) => name == *kind,
            PrincipalConstraint::IsIn(name, uid) => name == *kind && self.principal.contains(&uid),
        }
    }

    pub(super) fn matches_action(&self, policy: &Policy) -> bool {
        match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => uid == self.subject.action,
            ActionConstraint::In(uids) => uids.iter().any(|uid| self.action.contains(uid)),
        }
    }

    pub(super) fn matches_resource(&self, policy: &Policy) -> bool {
        let kind = self.subject.resource.type_name();
        match policy.resource_constraint() {
            ResourceConstraint::Any => true,
            ResourceConstraint::Eq(uid) => uid == self.subject.resource,
            ResourceConstraint::In(uid) => self.resource.contains(&uid),
            ResourceConstraint::Is(name) => name == *kind,
            ResourceConstraint::IsIn(name, uid) => name == *kind && self.resource.contains(&uid),
        }
    }

    /// The entities that conditions may walk: all in the question and all that the rules name, each
    /// with everything it is in.
    fn entities(&self, rules: &[Arc<Rule>], directory: &Directory) -> Result<Entities, String> {
        let mut all: HashMap<EntityUid, HashSet<EntityUid>> = HashMap::new();
        let mut put = |uid: &EntityUid, closure: &HashSet<EntityUid>| {
            let mut parents = closure.clone();
            parents.remove(uid);
            all.entry(uid.clone()).or_insert(parents);
        };
        put(&self.subject.principal, &self.principal);
        if let (Some(user), Some(closure)) = (&self.subject.user, &self.user) {
            put(user, closure);
        }
        if let Some(asker) = &self.subject.asker {
            put(asker, &directory.closure(asker));
        }
        put(&self.subject.action, &self.action);
        put(&self.subject.resource, &self.resource);
        for uid in rules.iter().flat_map(|rule| rule.policy.entity_literals()) {
            put(&uid, &directory.closure(&uid));
        }
        // Closures are complete already, so what they hold needs no entities of its own.
        Entities::from_entities(
            all.into_iter()
                .map(|(uid, parents)| Entity::new_no_attrs(uid, parents)),
            None,
        )
        .map_err(|error| entities::chain(&error))
    }
}

/// Slices that were asked for before.
#[derive(Debug, Default)]
pub(super) struct Kept(RwLock<HashMap<String, Arc<Prepared>>>);

impl Kept {
    pub(super) fn get_or_make(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<Prepared, String>,
    ) -> Result<Arc<Prepared>, String> {
        let read = self.0.read().map_err(|error| error.to_string())?;
        if let Some(found) = read.get(key) {
            return Ok(Arc::clone(found));
        }
        drop(read);
        let made = Arc::new(make()?);
        let mut write = self.0.write().map_err(|error| error.to_string())?;
        if write.len() >= MAX_KEPT {
            write.clear();
        }
        write.insert(key.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}
