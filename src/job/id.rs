//! The identifier of a job: 128 random bits, since a client keeps it where others may look. It gives no
//! right all the same: whoever presents one must be its owner.

use std::fmt;
use std::str::FromStr;

use crate::entropy::{Entropy, NoEntropy};

const PREFIX: &str = "job_";

/// A job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId([u8; 16]);

/// The text is no identifier of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `job_` and 32 of `0`-`9` and `a`-`f`")]
pub struct ParseJobIdError;

impl JobId {
    /// A new one.
    ///
    /// # Errors
    ///
    /// There are no random bytes to make it of.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(PREFIX).ok_or(ParseJobIdError)?;
        if digits.len() != 32
            || !digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(ParseJobIdError);
        }
        let number = u128::from_str_radix(digits, 16).map_err(|_| ParseJobIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl serde::Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(crate::name::Parsed::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn an_identifier_reads_back_as_itself_and_nothing_else_does() {
        let entropy = SeededEntropy::default();
        for _ in 0..100 {
            let id = JobId::generate(&entropy).unwrap();
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), 36);
        }
        for text in [
            "",
            "job_",
            "job_0123456789abcdef0123456789abcde",
            "job_0123456789abcdef0123456789abcdef0",
            "job_0123456789ABCDEF0123456789abcdef",
            "job_+123456789abcdef0123456789abcdef",
            "task_0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(text.parse::<JobId>(), Err(ParseJobIdError), "{text}");
        }
    }
}
