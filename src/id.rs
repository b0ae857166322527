//! Identifiers of what outlives a call: tasks, approvals, leases, step tokens.
//!
//! 80 random bits under a prefix that says what it is, in the alphabet of RFC 4648 base32 in lower
//! case: short enough to be read out, and not to be guessed. An identifier alone gives no right:
//! whoever presents one is checked against what it belongs to.

/// Makes the type of one kind of identifier.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 10]);

        impl $name {
            /// A new one.
            ///
            /// # Errors
            ///
            /// There are no random bytes to make it of.
            pub fn generate(
                entropy: &dyn $crate::entropy::Entropy,
            ) -> Result<Self, $crate::entropy::NoEntropy> {
                let mut bytes = [0; 10];
                entropy.fill(&mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                $crate::id::write(&self.0, f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "`{self}`")
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::read(text, $prefix).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::name::Parsed::new())
            }
        }
    };
}

pub(crate) use id;

id!(
    /// A task.
    TaskId, "task"
);
id!(
    /// An approval: of a hold, from the asking on.
    ApprovalId, "approval"
);
id!(
    /// A lease.
    LeaseId, "lease"
);

/// The text is no identifier of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not one: expected `{prefix}_` and 16 of `a`-`z` and `2`-`7`")]
pub struct ParseIdError {
    text: String,
    prefix: &'static str,
}

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

pub(crate) fn write(bytes: &[u8; 10], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    use std::fmt::Write as _;
    let number = bytes
        .iter()
        .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    for place in (0..16).rev() {
        let letter = usize::try_from(number >> (place * 5) & 31).unwrap_or(0);
        f.write_char(
            LETTERS
                .get(letter)
                .map_or('a', |letter| char::from(*letter)),
        )?;
    }
    Ok(())
}

pub(crate) fn read(text: &str, prefix: &'static str) -> Result<[u8; 10], ParseIdError> {
    let fault = || ParseIdError {
        text: crate::name::shown(text, 80),
        prefix,
    };
    let letters = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .filter(|rest| rest.len() == 16)
        .ok_or_else(fault)?;
    let mut number = 0_u128;
    for letter in letters.bytes() {
        let value = LETTERS
            .iter()
            .position(|l| *l == letter)
            .ok_or_else(fault)?;
        number = number << 5 | value as u128;
    }
    let [_, _, _, _, _, _, bytes @ ..] = number.to_be_bytes();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn an_identifier_reads_back_as_itself() {
        let entropy = SeededEntropy::default();
        for _ in 0..100 {
            let id = TaskId::generate(&entropy).unwrap();
            assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
            assert_eq!(id.to_string().len(), 21);
        }
        assert_eq!(LeaseId([0xff; 10]).to_string(), "lease_7777777777777777");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "task",
            "task_",
            "task_aaaaaaaaaaaaaaa",
            "task_aaaaaaaaaaaaaaaaa",
            "task_AAAAAAAAAAAAAAAA",
            "task_aaaaaaaaaaaaaaa1",
            "lease_aaaaaaaaaaaaaaaa",
            "task_aaaaaaaaaaaaaaé",
        ] {
            assert!(text.parse::<TaskId>().is_err(), "{text:?}");
        }
    }
}
