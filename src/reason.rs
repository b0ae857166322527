//! Why something was not done: the closed list of reasons, and the refusal that carries one.
//!
//! A reason is the same text in the agent's result, in the plugin's error, in the record and in the
//! metrics, so that one can be found from the other. The list is closed: a new way to refuse is a
//! new variant here, and every `match` on it must say what it does about that.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::approval::Asked;
use crate::policy::Ground;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $kind:ident;)*) => {
        /// A stable, dotted code for why something was refused or ended early.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)*
        }

        impl Reason {
            /// Every reason there is, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code, as it stands in results and records.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Whose doing it is.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }
        }
    };
}

/// Who or what stood in the way; the same four as `error-kind` in the plugin contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Policy, a grant or a rule of the host said no.
    Refused,
    /// A person must agree first.
    ApprovalRequired,
    /// A limit was reached.
    Limit,
    /// It was allowed and tried, and it failed.
    Failed,
}

reasons! {
    /// No such tool, or not by exactly this name.
    NameUnknown = "name.unknown", Refused;
    /// A second tool or plugin by a name that is taken.
    NameCollision = "name.collision", Refused;
    /// A name outside of the letters that names may have, or too long.
    NameInvalid = "name.invalid", Refused;

    /// The arguments are not JSON text, or not an object.
    ArgsInvalid = "args.invalid", Refused;
    /// A key stands twice in one object.
    ArgsDuplicateKey = "args.duplicate_key", Refused;
    /// A number that has no exact canonical form.
    ArgsNumber = "args.number", Refused;
    /// Nested too deep.
    ArgsTooDeep = "args.too_deep", Limit;
    /// Too many bytes, keys or items.
    ArgsTooLarge = "args.too_large", Limit;
    /// A property that the tool's schema does not name.
    ArgsUnknownProperty = "args.unknown_property", Refused;
    /// Does not conform to the tool's schema.
    ArgsSchema = "args.schema", Refused;
    /// The plugin refused the arguments.
    ArgsRejected = "args.rejected", Failed;

    /// No agent could be established from the transport.
    IdentityUnknown = "identity.unknown", Refused;
    /// The identity of an agent where a person's is needed, or the reverse.
    IdentityKind = "identity.kind", Refused;
    /// A token that can't be read, or that nobody here vouches for.
    TokenInvalid = "token.invalid", Refused;
    /// A token for another server.
    TokenAudience = "token.audience", Refused;
    /// A token whose time is over, or has not come.
    TokenExpired = "token.expired", Refused;
    /// A step token for another step, tool, task or round, or for other arguments or answers.
    TokenCheckFailed = "token.check_failed", Refused;
    /// A step token that was used.
    TokenUsed = "token.used", Refused;
    /// A token that was revoked.
    TokenRevoked = "token.revoked", Refused;
    /// A hand-off through more agents than allowed.
    HandoffDepth = "handoff.depth", Refused;
    /// A hand-off to an agent that is in the chain already.
    HandoffLoop = "handoff.loop", Refused;
    /// A hand-off of what the one who hands it on does not have.
    HandoffWidens = "handoff.widens", Refused;

    /// This host serves only agents that are on a task.
    TaskRequired = "task.required", Refused;
    /// No such task; the same for another agent's.
    TaskUnknown = "task.unknown", Refused;
    /// The task was ended.
    TaskEnded = "task.ended", Refused;
    /// The task's time is over.
    TaskExpired = "task.expired", Refused;
    /// The task does not name this tool.
    TaskTool = "task.tool", Refused;
    /// The task names this tool with other arguments.
    TaskArguments = "task.arguments", Refused;
    /// A budget of the task is used up.
    BudgetTask = "budget.task", Limit;

    /// The agent was revoked.
    RevokedAgent = "revoked.agent", Refused;
    /// The task was revoked.
    RevokedTask = "revoked.task", Refused;
    /// The plugin was revoked.
    RevokedPlugin = "revoked.plugin", Refused;
    /// The lease was revoked.
    RevokedLease = "revoked.lease", Refused;
    /// The approval was revoked.
    RevokedApproval = "revoked.approval", Refused;
    /// Everything was stopped, by the kill switch.
    RevokedAll = "revoked.all", Refused;

    /// No policy allows it.
    PolicyDefault = "policy.default_deny", Refused;
    /// A policy forbids it.
    PolicyForbidden = "policy.forbidden", Refused;
    /// A policy could not be evaluated, or the question could not be put.
    PolicyError = "policy.error", Refused;
    /// Policy allows it once a person agrees.
    ApprovalRequired = "approval.required", ApprovalRequired;
    /// A person said no.
    ApprovalDenied = "approval.denied", Refused;
    /// Nobody answered in time, or what was answered was not used in time.
    ApprovalExpired = "approval.expired", Refused;
    /// It was used.
    ApprovalUsed = "approval.used", Refused;
    /// It is for other arguments, or for other answers than the call brings.
    ApprovalArguments = "approval.args_digest", Refused;
    /// It is for another agent, user, task, tool, plugin or policies.
    ApprovalBinding = "approval.binding", Refused;
    /// The one who asks, or a token of an agent, can't answer.
    ApprovalSelf = "approval.self", Refused;
    /// It was taken back, by the one who asked or by its call's end.
    ApprovalWithdrawn = "approval.withdrawn", Refused;
    /// Too many asks of this agent; they are refused without asking anyone.
    ApprovalRate = "approval.rate", Refused;

    /// This call was not granted that requirement.
    GrantAbsent = "grant.absent", Refused;

    /// Not a URL.
    UrlInvalid = "egress.url_invalid", Refused;
    /// A URL whose text is not its canonical form.
    UrlNoncanonical = "egress.url_noncanonical", Refused;
    /// A URL with a user name or a password.
    UrlUserinfo = "egress.url_userinfo", Refused;
    /// Not `https`, nor `http` where that was granted.
    EgressScheme = "egress.scheme", Refused;
    /// A port that was not granted, or not a port.
    EgressPort = "egress.port", Refused;
    /// A method that was not granted, or none of those that there are.
    EgressMethod = "egress.method", Refused;
    /// A path that was not granted, or one that two readers read differently.
    EgressPath = "egress.path", Refused;
    /// A host that was not granted.
    EgressHostNotGranted = "egress.host_not_granted", Refused;
    /// A header that belongs to the host.
    EgressForbiddenHeader = "egress.forbidden_header", Refused;
    /// A header or body that HTTP does not allow.
    EgressRequestInvalid = "egress.request_invalid", Refused;
    /// A label too long or too random to be looked up under an open grant.
    EgressNameEntropy = "egress.name_entropy", Refused;
    /// An address that is not public, and that policy does not name.
    EgressIpClass = "egress.ip_class", Refused;
    /// The name has no address.
    EgressDns = "egress.dns", Failed;
    /// No connection.
    EgressConnect = "egress.connect", Failed;
    /// The far side did not prove its name.
    EgressTls = "egress.tls", Failed;
    /// The far side did not speak HTTP.
    EgressProtocol = "egress.protocol", Failed;

    /// The same for a secret that does not exist and one that was not granted.
    SecretNotGranted = "secret.not_granted", Refused;
    /// Only the host may use its value.
    SecretHandleOnly = "secret.handle_only", Refused;
    /// Bound to another origin, header or scheme.
    SecretBinding = "secret.binding", Refused;
    /// The store could not give it.
    SecretUnavailable = "secret.unavailable", Failed;
    /// The lease's time or number of uses is over.
    LeaseOver = "lease.over", Refused;
    /// The source lends nothing now.
    LeaseUnavailable = "lease.unavailable", Failed;
    /// Too many credentials wait to be taken back; none is lent before.
    LeaseBacklog = "lease.revoke_pending", Refused;
    /// A lent secret's value in a place where it was not put by the host.
    SecretInRequest = "dlp.secret_in_request", Refused;

    /// The fuel was used up.
    TrapFuel = "trap.fuel", Limit;
    /// The wall-clock time was used up.
    TrapDeadline = "trap.deadline", Limit;
    /// More memory than allowed.
    TrapMemory = "trap.memory_limit", Limit;
    /// More table entries, tables, memories or instances than allowed.
    TrapTable = "trap.table_limit", Limit;
    /// The stack overflowed.
    TrapStack = "trap.stack", Limit;
    /// One host call carried more bytes than allowed.
    TrapHostCallBytes = "trap.host_call_bytes", Limit;
    /// The plugin trapped: a panic, an unreachable, a bad access.
    TrapGuest = "trap.guest", Failed;
    /// The plugin exited by itself.
    TrapExit = "trap.exit", Failed;
    /// The plugin said that it failed.
    PluginFailed = "plugin.failed", Failed;
    /// The host broke a promise of its own.
    HostInternal = "host.internal", Failed;

    /// Too many host calls.
    BudgetHostCalls = "budget.host_calls", Limit;
    /// Too many bytes through host calls.
    BudgetHostBytes = "budget.host_bytes", Limit;
    /// Too many handles at once.
    BudgetHandles = "budget.handles", Limit;
    /// Too many refusals in one call.
    BudgetRefusals = "budget.refusals", Limit;

    /// No free place for another call of this plugin, agent or host.
    LimitConcurrency = "limit.concurrency", Limit;
    /// Too many calls in a row that failed or were refused; wait.
    LimitBreaker = "limit.breaker", Limit;
    /// Too many step tokens and hand-offs asked for within a minute; wait.
    LimitTokens = "limit.tokens", Limit;
    /// An agent asked more often than it may; wait.
    LimitRate = "limit.rate", Limit;
    /// Too many calls that run as jobs, of this agent or in all, or too much kept of them.
    LimitJobs = "limit.jobs", Limit;
    /// A time-out of a connection: connect, first byte, idle or in all.
    LimitHttpTime = "limit.http_time", Limit;
    /// A request larger than allowed.
    LimitRequestBytes = "limit.request_bytes", Limit;
    /// A response larger than allowed, or with too many header fields.
    LimitResponseBytes = "limit.response_bytes", Limit;

    /// The result is larger than allowed.
    ResultTooLarge = "result.too_large", Limit;
    /// The result is not what the contract allows.
    ResultInvalid = "result.invalid", Failed;
    /// The structured content does not conform to the output schema.
    ResultSchema = "result.schema", Failed;
    /// The plugin asks for input, and this client can't be asked.
    InputUnsupported = "input.unsupported", Failed;
    /// Answers to what this host did not ask for in this call.
    InputUnasked = "input.unasked", Refused;

    /// Calls of the tool run as jobs only, and the client has none.
    JobRequired = "job.required", Refused;
    /// Calls of the tool run as jobs only, and the operator forbids that.
    JobForbidden = "job.forbidden", Refused;
    /// The host ended while the job was under way, or its time was over.
    JobLost = "job.lost", Failed;

    /// The call was cancelled.
    CallCancelled = "call.cancelled", Failed;
    /// The host is ending.
    HostDraining = "host.draining", Refused;
    /// Nothing can be written down, so nothing is done.
    JournalUnavailable = "journal.unavailable", Refused;

    /// The component imports what the host does not offer.
    ImportNotAllowed = "component.import_not_allowed", Refused;
    /// Not a component, or a broken one.
    ComponentInvalid = "component.invalid", Refused;
    /// Larger than the host compiles, or too hard to compile.
    ComponentTooLarge = "component.too_large", Limit;
    /// Imports and declared requirements do not agree.
    ComponentLies = "component.requirements_mismatch", Refused;
    /// `describe` failed, looped, or said what can't be.
    ComponentDescribe = "component.describe", Refused;
    /// A description with control, bidirectional or tag characters.
    ComponentText = "component.text", Refused;
    /// A schema that is too deep, not a schema, or that points outside.
    ComponentSchema = "component.schema", Refused;
    /// The component's digest is not the accepted one.
    PinDigestMismatch = "pin.digest_mismatch", Refused;
    /// No signature by a key that the operator trusts, or not of this component.
    PinSignature = "pin.signature", Refused;
    /// An older version than the accepted one.
    PinRollback = "pin.rollback", Refused;
    /// A name that can be taken for another plugin's.
    NameConfusable = "name.confusable", Refused;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Something that was not done, and why; with one text for the agent and one for the operator.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The reason, from the closed list.
    pub reason: Reason,
    /// What happened, for the agent and the plugin: no policy, no file, no secret in it.
    pub message: Cow<'static, str>,
    /// What the operator would want to know beyond that.
    pub detail: Option<String>,
    /// The decision it rests on, where policy was asked.
    pub ground: Option<Box<Ground>>,
    /// The approval that it waits for, where a person was asked.
    pub approval: Option<Box<Asked>>,
}

impl Refusal {
    /// A refusal with the text that everyone may read.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            message: message.into(),
            detail: None,
            ground: None,
            approval: None,
        }
    }

    /// Adds what only the operator reads.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the approval that it waits for.
    #[must_use]
    pub fn with_approval(mut self, asked: Box<Asked>) -> Self {
        self.approval = Some(asked);
        self
    }

    /// Adds the decision that it rests on.
    #[must_use]
    pub fn with_ground(mut self, ground: Ground) -> Self {
        self.ground = Some(Box::new(ground));
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_serialise_as_themselves() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let text = serde_json::to_string(reason).unwrap();
            assert_eq!(text, format!("\"{}\"", reason.code()));
        }
    }
}
