//! Numbers with units, within bounds: `"30s"`, `"64MiB"`, `1000`.

use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeSeed, Deserializer, Error, Unexpected, Visitor};

/// How a number is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// An integer.
    Count,
    /// An integer of bytes, or text with a unit.
    Bytes,
    /// Text with a unit; counted in milliseconds.
    Time,
}

/// A setting, how it is written, and the values that are neither useless nor absurd.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantity {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) least: u64,
    pub(super) most: u64,
}

const BYTES: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
// `ms` before `s`, of which it ends in.
const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

impl Unit {
    const fn suffixes(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Count => &[],
            Self::Bytes => BYTES,
            Self::Time => TIMES,
        }
    }

    fn parse(self, text: &str) -> Option<u64> {
        let (suffix, factor) = self
            .suffixes()
            .iter()
            .find(|(suffix, _)| text.ends_with(suffix))?;
        let digits = text.strip_suffix(suffix)?.trim_end();
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse::<u64>().ok()?.checked_mul(*factor)
    }

    /// `value` as an author would write it.
    fn show(self, value: u64) -> String {
        let largest = self
            .suffixes()
            .iter()
            .filter(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
            .max_by_key(|(_, factor)| *factor);
        match largest {
            Some((suffix, factor)) => format!("\"{}{suffix}\"", value / factor),
            None => value.to_string(),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.unit.show(self.least), self.unit.show(self.most));
        match self.unit {
            Unit::Count => write!(f, "an integer from {least} to {most}"),
            Unit::Bytes => write!(f, "a size from {least} to {most} (units: B, KiB, MiB, GiB)"),
            Unit::Time => write!(f, "a time from {least} to {most} (units: ms, s, min, h)"),
        }
    }
}

impl Quantity {
    /// Reads it as what it counts.
    pub(super) fn read<'de, T: Counted, D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<T, D::Error> {
        self.deserialize(deserializer).map(T::counted)
    }

    fn within<E: Error>(&self, value: u64, written: &str) -> Result<u64, E> {
        if (self.least..=self.most).contains(&value) {
            Ok(value)
        } else {
            Err(E::custom(format_args!(
                "`{}` can't be {written}: use {self}",
                self.name
            )))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Quantity {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Quantity {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} for `{}`", self.name)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        if matches!(self.unit, Unit::Time) {
            // Seconds or milliseconds? Nobody should have to know.
            return Err(E::custom(format_args!(
                "`{}` needs a unit: write \"{value}s\" or \"{value}ms\"",
                self.name
            )));
        }
        self.within(u64::try_from(value).unwrap_or(0), &value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        self.visit_i64(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        match self.unit.parse(text) {
            Some(value) => self.within(value, &format!("{text:?}")),
            None => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// The types of the limits that a quantity becomes.
pub(super) trait Counted: Sized {
    fn counted(value: u64) -> Self;
}

impl Counted for u64 {
    fn counted(value: u64) -> Self {
        value
    }
}

impl Counted for u32 {
    fn counted(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Counted for usize {
    fn counted(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Counted for Duration {
    fn counted(value: u64) -> Self {
        Self::from_millis(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_shown() {
        for (unit, text, value) in [
            (Unit::Bytes, "64MiB", 64 << 20),
            (Unit::Bytes, "1 KiB", 1 << 10),
            (Unit::Bytes, "12B", 12),
            (Unit::Time, "30s", 30_000),
            (Unit::Time, "250ms", 250),
            (Unit::Time, "2min", 120_000),
            (Unit::Time, "1h", 3_600_000),
        ] {
            assert_eq!(unit.parse(text), Some(value), "{text}");
            assert_eq!(unit.show(value), format!("\"{}\"", text.replace(' ', "")));
        }
        for text in [
            "",
            "s",
            "1",
            "1.5s",
            "-1s",
            "+1s",
            "1 day",
            "1MB",
            "1m",
            "99999999999999999999s",
            "18446744073709551615h",
            "s1",
            "1ss",
        ] {
            assert_eq!(Unit::Time.parse(text), None, "{text}");
            assert_eq!(Unit::Bytes.parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_is_read(value in 1_u64..1 << 50) {
            for unit in [Unit::Bytes, Unit::Time] {
                let shown = unit.show(value);
                proptest::prop_assert_eq!(unit.parse(shown.trim_matches('"')), Some(value));
            }
        }
    }
}
