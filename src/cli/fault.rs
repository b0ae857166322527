//! An error as a command shows it: what is wrong, why, what to do, and the exit code.

use std::error::Error;

use super::exit::Exit;

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The code that the process ends with.
    pub(crate) exit: Exit,
    /// What is wrong and why, causes joined by colons. May hold text from outside.
    pub(crate) message: String,
    /// What to do: an exact command where there is one.
    pub(crate) hint: Option<String>,
    /// Nobody reads the output any more: not an error of anyone.
    pub(crate) pipe_closed: bool,
}

impl Fault {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            pipe_closed: false,
        }
    }

    /// Something that the person who typed the command can mend.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// The error and its causes.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        Self::new(Exit::Failed, chain(error))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Says first what was tried.
    pub(crate) fn context(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl<E: Error + 'static> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// The message and those of its causes, joined by colons. A cause that the message already tells is
/// not told twice.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't read `{file}`")]
    struct Read {
        file: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn causes_are_joined_by_colons_and_told_once() {
        let source = std::io::Error::other("disk on fire");
        let fault = Fault::from(Read { file: "a", source }).context("can't start");
        assert_eq!(fault.message, "can't start: can't read `a`: disk on fire");
        assert_eq!(fault.exit, Exit::Failed);
    }
}
