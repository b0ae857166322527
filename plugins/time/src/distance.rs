//! How far apart two times are: by the calendar, and exactly.

use jiff::tz::TimeZone;
use jiff::{RoundMode, Unit, Zoned, ZonedDifference};
use schemars::JsonSchema;
use serde::Serialize;

/// The parts of a distance by the calendar. All have the same sign: negative where `to` is before `from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Calendar {
    /// Whole years.
    pub years: i64,
    /// Whole months beyond the years.
    pub months: i64,
    /// Whole days beyond the months.
    pub days: i64,
    /// Whole hours beyond the days.
    pub hours: i64,
    /// Whole minutes beyond the hours.
    pub minutes: i64,
    /// Whole seconds beyond the minutes.
    pub seconds: i64,
}

/// A distance.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// The first time, in the zone.
    pub from: String,
    /// The second time, in the zone.
    pub to: String,
    /// The zone whose calendar was used.
    pub zone: String,
    /// By the calendar of that zone: a day is from one midnight to the next, even where it has 23 or 25 hours.
    pub calendar: Calendar,
    /// The same as an ISO 8601 duration.
    pub iso: String,
    /// Whole calendar days.
    pub days: i64,
    /// Exact seconds that pass between the two.
    pub seconds: i64,
}

/// How far `to` is after `from`, by the calendar of `zone`.
///
/// # Errors
///
/// Where the calendar cannot say, which is at the ends of the range of years.
pub(crate) fn between(from: &Zoned, to: &Zoned, zone: &TimeZone) -> Result<Difference, String> {
    let from = from.with_time_zone(zone.clone());
    let to = to.with_time_zone(zone.clone());
    let until = |largest| {
        let difference = ZonedDifference::new(&to)
            .largest(largest)
            .smallest(Unit::Second)
            .mode(RoundMode::Trunc);
        from.until(difference).map_err(|error| error.to_string())
    };
    let span = until(Unit::Year)?;
    let days = until(Unit::Day)?.get_days();
    Ok(Difference {
        from: crate::instant::rfc3339(&from),
        to: crate::instant::rfc3339(&to),
        zone: crate::instant::zone_name(&from),
        calendar: Calendar {
            years: span.get_years().into(),
            months: span.get_months().into(),
            days: span.get_days().into(),
            hours: span.get_hours().into(),
            minutes: span.get_minutes(),
            seconds: span.get_seconds(),
        },
        iso: span.to_string(),
        days: days.into(),
        seconds: to
            .timestamp()
            .as_second()
            .saturating_sub(from.timestamp().as_second()),
    })
}

/// `1 year, 2 days`.
#[must_use]
pub(crate) fn in_words(calendar: &Calendar) -> String {
    let parts = [
        (calendar.years, "year"),
        (calendar.months, "month"),
        (calendar.days, "day"),
        (calendar.hours, "hour"),
        (calendar.minutes, "minute"),
        (calendar.seconds, "second"),
    ];
    let negative = parts.iter().any(|(n, _)| *n < 0);
    let words: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n != 0)
        .map(|(n, word)| {
            format!(
                "{} {word}{}",
                n.unsigned_abs(),
                if n.unsigned_abs() == 1 { "" } else { "s" }
            )
        })
        .collect();
    match (words.is_empty(), negative) {
        (true, _) => "no time".to_owned(),
        (false, true) => format!("{} earlier", words.join(", ")),
        (false, false) => format!("{} later", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{instant, zones};

    fn distance(from: &str, to: &str, zone: &str) -> Difference {
        let zone = zones::find(zone).unwrap();
        between(
            &instant::read(from, &zone).unwrap(),
            &instant::read(to, &zone).unwrap(),
            &zone,
        )
        .unwrap()
    }

    #[test]
    fn a_day_across_a_change_of_the_clocks_is_a_day_of_other_length() {
        let spring = distance("2026-03-28T12:00", "2026-03-29T12:00", "Europe/Berlin");
        assert_eq!(
            (spring.days, spring.seconds, spring.iso.as_str()),
            (1, 23 * 3_600, "P1D")
        );
        let autumn = distance("2026-10-24T12:00", "2026-10-25T12:00", "Europe/Berlin");
        assert_eq!((autumn.days, autumn.seconds), (1, 25 * 3_600));
        assert_eq!(
            distance("2026-03-28T12:00", "2026-03-29T12:00", "UTC").seconds,
            24 * 3_600
        );
    }

    #[test]
    fn months_and_leap_years_follow_the_calendar() {
        let d = distance("2024-02-29", "2026-11-22T01:02:03", "UTC");
        assert_eq!(
            d.calendar,
            Calendar {
                years: 2,
                months: 8,
                days: 24,
                hours: 1,
                minutes: 2,
                seconds: 3
            }
        );
        assert_eq!(d.days, 997);
        assert_eq!(
            in_words(&d.calendar),
            "2 years, 8 months, 24 days, 1 hour, 2 minutes, 3 seconds later"
        );
    }

    #[test]
    fn the_other_way_is_negative() {
        let d = distance("2026-11-22", "2026-11-20", "UTC");
        assert_eq!((d.days, d.seconds, d.iso.as_str()), (-2, -172_800, "-P2D"));
        assert_eq!(in_words(&d.calendar), "2 days earlier");
        assert_eq!(
            in_words(&distance("2026-11-22", "2026-11-22", "UTC").calendar),
            "no time"
        );
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        let d = distance("-009998-01-01", "9998-12-31", "UTC");
        assert!(d.seconds > 600_000_000_000 && d.calendar.years > 19_000);
    }

    mod property {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn both_ways_are_equally_far(a in -60_000_000_000_i64..60_000_000_000, b in -60_000_000_000_i64..60_000_000_000) {
                let zone = zones::find("America/New_York").unwrap();
                let a = instant::read(&format!("{a:05}"), &zone);
                let b = instant::read(&format!("{b:05}"), &zone);
                if let (Ok(a), Ok(b)) = (a, b) {
                    let there = between(&a, &b, &zone).unwrap();
                    let back = between(&b, &a, &zone).unwrap();
                    prop_assert_eq!(there.seconds, -back.seconds);
                }
            }

            #[test]
            fn no_text_panics(text in ".{0,40}") {
                let zone = zones::find("Europe/Berlin").unwrap();
                let _ = instant::read(&text, &zone);
                let _ = instant::ambiguity(&text, &zone);
                let _ = zones::find(&text);
            }
        }
    }
}
