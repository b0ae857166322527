//! Time zones: finding one by name, and finding names.

use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

/// Names given at most.
pub(crate) const MOST_NAMES: usize = 700;

/// The database that is compiled in.
fn database() -> TimeZoneDatabase {
    TimeZoneDatabase::bundled()
}

/// The zone of this name: `Europe/Berlin`, `UTC`, `Z`, or a fixed offset such as `+05:30`.
///
/// # Errors
///
/// Where there is none, with the names that come near.
pub(crate) fn find(name: &str) -> Result<TimeZone, String> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("z") || name.eq_ignore_ascii_case("utc") {
        return Ok(TimeZone::UTC);
    }
    if name.starts_with(['+', '-']) {
        return offset(name)
            .map(TimeZone::fixed)
            .ok_or_else(|| format!("`{}` is not an offset; write it as `+05:30`", excerpt(name)));
    }
    database().get(name).map_err(|_| {
        let near = search(name.rsplit('/').next().unwrap_or(name), 5).0;
        let hint = if near.is_empty() {
            "use a name such as `Europe/Berlin`, or search with the tool `zones`".to_owned()
        } else {
            format!(
                "did you mean {}",
                near.iter()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        };
        format!("there is no time zone `{}`: {hint}", excerpt(name))
    })
}

/// `+05:30`, `-0800`, `+9`.
fn offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.strip_prefix(['+', '-'])?;
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let number = |text: &str, most: i32| {
        let plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|n| plain && *n <= most)
    };
    Offset::from_seconds(sign * (number(hours, 25)? * 3_600 + number(minutes, 59)? * 60)).ok()
}

/// Names that hold `text`, in any case and with spaces for underscores, in order, at most `most`; and how many there
/// are in all.
#[must_use]
pub(crate) fn search(text: &str, most: usize) -> (Vec<String>, usize) {
    let wanted = plain(text);
    let all: Vec<String> = database()
        .available()
        .map(|name| name.as_str().to_owned())
        .filter(|name| plain(name).contains(&wanted))
        .collect();
    let count = all.len();
    (all.into_iter().take(most).collect(), count)
}

fn plain(text: &str) -> String {
    text.trim().to_lowercase().replace([' ', '-'], "_")
}

/// A text short enough for a message.
#[must_use]
pub(crate) fn excerpt(text: &str) -> String {
    text.chars()
        .take(60)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_and_offset() {
        for name in [
            "Europe/Berlin",
            "europe/berlin",
            "America/Argentina/Buenos_Aires",
            "UTC",
            "z",
            "+05:30",
            "-0800",
            "+9",
            " Asia/Tokyo ",
        ] {
            assert!(find(name).is_ok(), "{name}");
        }
        assert_eq!(offset("-08:30"), Offset::from_seconds(-30_600).ok());
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_near_ones() {
        assert_eq!(
            find("Europe/Tokyo").unwrap_err(),
            "there is no time zone `Europe/Tokyo`: did you mean `Asia/Tokyo`"
        );
        assert!(
            find("Nowhere")
                .unwrap_err()
                .contains("search with the tool")
        );
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "",
            "/etc/passwd",
            "../../etc/passwd",
            "+25:99",
            "+99",
            "+1:2:3",
            "-",
            "++1",
            "+é1",
            "+ab:cd",
            "\u{0}",
            "+2147483648",
        ] {
            assert!(find(name).is_err(), "{name:?}");
        }
        assert!(find(&"x".repeat(100_000)).unwrap_err().len() < 300);
    }

    #[test]
    fn search_ignores_case_and_separators() {
        assert_eq!(
            search("new york", 10),
            (vec!["America/New_York".to_owned()], 1)
        );
        let (names, count) = search("", 3);
        assert!(names.len() == 3 && count > 400);
    }
}
