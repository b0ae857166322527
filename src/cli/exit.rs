//! Exit codes: what a script may rely on. The help text, the documentation and the code are made of
//! this one list.

use crate::reason::{Kind, Reason};

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal;)*) => {
        /// How a command ended, as its exit code says it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Exit {
            $($(#[doc = $doc])+ $variant = $code,)*
        }

        impl Exit {
            /// Every code there is, with what it means.
            pub const ALL: &'static [(Self, &'static str)] = &[
                $((Self::$variant, concat!($($doc),+)),)*
            ];
        }
    };
}

exits! {
    /// done, or the tool's own success
    Ok = 0;
    /// the tool failed, ran into a limit, or the command could not do its work
    Failed = 1;
    /// refused, by policy or by the host, or held for a person
    Denied = 2;
    /// invalid: usage, arguments of a tool, configuration, policies, cases
    Invalid = 3;
    /// the daemon is not there, can't be started or does not answer
    Unreachable = 4;
    /// something is there already: another daemon, an agent of that name, a file
    Conflict = 5;
    /// the journal is not what was written, or a tape is not
    Tampered = 6;
    /// a replay went another way than its call
    Diverged = 7;
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// For a call that ended for this reason.
    ///
    /// What the caller can mend in what it wrote is invalid; what somebody else must allow, or that
    /// may pass later, is denied; what began to run and did not end well has failed.
    #[must_use]
    pub fn of_reason(reason: Reason) -> Self {
        let code = reason.code();
        if code.starts_with("args.") || code.starts_with("name.") {
            return Self::Invalid;
        }
        match (reason, reason.kind()) {
            (
                Reason::LimitConcurrency
                | Reason::LimitBreaker
                | Reason::LimitTokens
                | Reason::LimitRate
                | Reason::LimitJobs,
                _,
            )
            | (_, Kind::Refused | Kind::ApprovalRequired) => Self::Denied,
            (_, Kind::Limit | Kind::Failed) => Self::Failed,
        }
    }

    /// The list, for the help text.
    #[must_use]
    pub fn help() -> String {
        let mut text = String::from("Exit codes:");
        for (exit, meaning) in Self::ALL {
            text.push_str(&format!("\n  {}  {}", exit.code(), meaning.trim()));
        }
        text
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_stable() {
        insta::assert_snapshot!(Exit::help(), @r"
        Exit codes:
          0  done, or the tool's own success
          1  the tool failed, ran into a limit, or the command could not do its work
          2  refused, by policy or by the host, or held for a person
          3  invalid: usage, arguments of a tool, configuration, policies, cases
          4  the daemon is not there, can't be started or does not answer
          5  something is there already: another daemon, an agent of that name, a file
          6  the journal is not what was written, or a tape is not
          7  a replay went another way than its call
        ");
    }

    #[test]
    fn a_reason_has_the_exit_that_its_reader_needs() {
        for (reason, exit) in [
            (Reason::NameUnknown, Exit::Invalid),
            (Reason::ArgsSchema, Exit::Invalid),
            (Reason::ArgsTooLarge, Exit::Invalid),
            (Reason::ArgsRejected, Exit::Invalid),
            (Reason::PolicyDefault, Exit::Denied),
            (Reason::ApprovalRequired, Exit::Denied),
            (Reason::LimitBreaker, Exit::Denied),
            (Reason::LimitTokens, Exit::Denied),
            (Reason::LimitRate, Exit::Denied),
            (Reason::JournalUnavailable, Exit::Denied),
            (Reason::TrapFuel, Exit::Failed),
            (Reason::PluginFailed, Exit::Failed),
        ] {
            assert_eq!(Exit::of_reason(reason), exit, "{reason}");
        }
    }
}
