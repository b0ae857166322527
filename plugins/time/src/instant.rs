//! Reading the times that an agent gives, and writing them.

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::{DateTimeParser, Pieces};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::zones;

static PARSER: DateTimeParser = DateTimeParser::new();

/// Reads `text`: an RFC 3339 or ISO 8601 time with an offset or a zone, a plain date and time or a plain date (taken to be
/// in `zone`), or seconds since 1970.
///
/// # Errors
///
/// Where it is none of these, or there is no such time.
pub(crate) fn read(text: &str, zone: &TimeZone) -> Result<Zoned, String> {
    let text = text.trim();
    let fail = |why: &str| {
        format!(
            "`{}` is not a time: {why}; write it as `2026-11-22T14:30:00+01:00`, `2026-11-22T14:30:00[Europe/Berlin]`, \
             `2026-11-22 14:30`, `2026-11-22` or seconds since 1970",
            zones::excerpt(text)
        )
    };
    // Seconds: a year alone (`2026`) would be taken for one, so it is refused.
    if !text.is_empty()
        && text
            .trim_start_matches('-')
            .bytes()
            .all(|byte| byte.is_ascii_digit())
        && !text.starts_with("--")
    {
        if text.len() == 4 {
            return Err(fail("a year alone is not enough"));
        }
        let seconds: i64 = text.parse().map_err(|_| fail("the number is too large"))?;
        let time = Timestamp::from_second(seconds).map_err(|_| fail("the number is too large"))?;
        return Ok(time.to_zoned(zone.clone()));
    }
    let pieces = Pieces::parse(text).map_err(|error| fail(&error.to_string()))?;
    if let Some(annotation) = pieces.time_zone_annotation() {
        // A named zone within the text: the name must exist, and an offset beside it must agree.
        let name = match annotation.kind() {
            jiff::fmt::temporal::TimeZoneAnnotationKind::Named(name) => name.as_str().to_owned(),
            jiff::fmt::temporal::TimeZoneAnnotationKind::Offset(offset) => offset.to_string(),
            _ => return Err(fail("its time zone can't be read")),
        };
        let named = zones::find(&name)?;
        let time = pieces.time().unwrap_or_default();
        let civil = DateTime::from_parts(pieces.date(), time);
        return match pieces.to_numeric_offset() {
            None => in_zone(civil, &named).map_err(|why| fail(&why)),
            Some(offset) => {
                let time = offset
                    .to_timestamp(civil)
                    .map_err(|error| fail(&error.to_string()))?;
                if named.to_offset(time) != offset {
                    return Err(fail("its offset is not that of its time zone at that time"));
                }
                Ok(time.to_zoned(named))
            }
        };
    }
    if let Ok(time) = PARSER.parse_timestamp(text) {
        // The offset is kept as the zone, so that an answer can repeat it.
        let zone = pieces
            .to_numeric_offset()
            .map_or_else(|| TimeZone::UTC, TimeZone::fixed);
        return Ok(time.to_zoned(zone));
    }
    if let Ok(civil) = PARSER.parse_datetime(text) {
        return in_zone(civil, zone).map_err(|why| fail(&why));
    }
    let date: Date = PARSER
        .parse_date(text)
        .map_err(|error| fail(&error.to_string()))?;
    in_zone(date.to_datetime(jiff::civil::Time::midnight()), zone).map_err(|why| fail(&why))
}

/// Where the clocks jump over this time, the moment as far after the jump; where it comes twice, the first.
fn in_zone(civil: DateTime, zone: &TimeZone) -> Result<Zoned, String> {
    zone.to_ambiguous_zoned(civil)
        .compatible()
        .map_err(|error| error.to_string())
}

/// Whether a plain time falls into a gap or comes twice in this zone.
#[must_use]
pub(crate) fn ambiguity(text: &str, zone: &TimeZone) -> Option<&'static str> {
    let text = text.trim();
    if Pieces::parse(text).ok()?.to_numeric_offset().is_some()
        || Pieces::parse(text).ok()?.time_zone_annotation().is_some()
    {
        return None;
    }
    let civil = PARSER.parse_datetime(text).ok()?;
    match zone.to_ambiguous_timestamp(civil).offset() {
        jiff::tz::AmbiguousOffset::Unambiguous { .. } => None,
        jiff::tz::AmbiguousOffset::Gap { .. } => Some(
            "the clocks jump over this time in that zone; the moment as far after the jump was taken",
        ),
        jiff::tz::AmbiguousOffset::Fold { .. } => {
            Some("this time comes twice in that zone; the first was taken")
        }
    }
}

/// RFC 3339, with the offset and without the name of the zone.
#[must_use]
pub(crate) fn rfc3339(time: &Zoned) -> String {
    time.timestamp()
        .display_with_offset(time.offset())
        .to_string()
}

/// The name of its zone, or its offset where it has none.
#[must_use]
pub(crate) fn zone_name(time: &Zoned) -> String {
    time.time_zone()
        .iana_name()
        .map_or_else(|| time.offset().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        zones::find("Europe/Berlin").unwrap()
    }

    fn shown(text: &str) -> String {
        rfc3339(&read(text, &berlin()).unwrap())
    }

    #[test]
    fn times_are_read_in_each_form() {
        assert_eq!(
            shown("2026-11-22T14:30:00+01:00"),
            "2026-11-22T14:30:00+01:00"
        );
        assert_eq!(shown("2026-11-22T13:30:00Z"), "2026-11-22T13:30:00+00:00");
        assert_eq!(
            shown("2026-11-22T14:30:00[Asia/Tokyo]"),
            "2026-11-22T14:30:00+09:00"
        );
        assert_eq!(
            shown("2026-11-22T14:30:00+09:00[Asia/Tokyo]"),
            "2026-11-22T14:30:00+09:00"
        );
        assert_eq!(shown("2026-07-22 14:30"), "2026-07-22T14:30:00+02:00");
        assert_eq!(shown("2026-11-22"), "2026-11-22T00:00:00+01:00");
        assert_eq!(shown("1795352400"), "2026-11-22T14:00:00+01:00");
        assert_eq!(shown("-1000000"), "1969-12-20T11:13:20+01:00");
    }

    #[test]
    fn times_around_a_change_of_the_clocks_are_said() {
        assert_eq!(shown("2026-03-29T02:30"), "2026-03-29T03:30:00+02:00");
        assert!(
            ambiguity("2026-03-29T02:30", &berlin())
                .unwrap()
                .contains("jump")
        );
        assert_eq!(shown("2026-10-25T02:30"), "2026-10-25T02:30:00+02:00");
        assert!(
            ambiguity("2026-10-25T02:30", &berlin())
                .unwrap()
                .contains("twice")
        );
        assert_eq!(ambiguity("2026-10-25T02:30+01:00", &berlin()), None);
        assert_eq!(ambiguity("2026-11-22T02:30", &berlin()), None);
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms_that_are() {
        for text in [
            "",
            "now",
            "tomorrow",
            "2026",
            "22.11.2026",
            "2026-13-01",
            "2026-02-30",
            "25:00",
            "99999999999999999999",
            "2026-11-22T14:30:00[Mars/Olympus]",
            "2026-11-22T14:30:00+05:00[Asia/Tokyo]",
            "--5",
            "-",
            "\u{0}",
            "é",
        ] {
            let error = read(text, &berlin()).unwrap_err();
            assert!(
                error.contains("is not a time") || error.contains("no time zone"),
                "{text:?}: {error}"
            );
        }
        assert!(read(&"9".repeat(50_000), &berlin()).unwrap_err().len() < 500);
    }
}
