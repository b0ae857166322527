//! The `time` plugin: the time now, times in other zones, and how far apart two are.
//!
//! Only `now` needs anything of the host: its clock. The time zone database is compiled in.

mod distance;
mod instant;
mod zones;

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tollgate_plugin::prelude::*;

pub use distance::{Calendar, Difference};

/// Which zone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Now {
    /// A time zone such as `Europe/Berlin`, `UTC` or `+05:30`. UTC where it is left out.
    #[serde(default)]
    zone: Option<String>,
}

/// A time, and the zone that it shall be in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// The time: `2026-11-22T14:30:00+01:00`, `2026-11-22 14:30`, `2026-11-22` or seconds since 1970.
    time: String,
    /// The zone that `time` is in, where it does not say so itself. UTC where it is left out.
    #[serde(default)]
    from: Option<String>,
    /// The zone to give it in, such as `Asia/Tokyo`.
    to: String,
}

/// Two times.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The first time, in the same forms as for `convert`.
    from: String,
    /// The second time.
    to: String,
    /// The zone of times that name none, and whose calendar counts the days. UTC where it is left out.
    #[serde(default)]
    zone: Option<String>,
}

/// What to look for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// A part of the name, such as `york` or `europe/`. All names where it is left out.
    #[serde(default)]
    search: Option<String>,
}

/// A time in a zone.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Moment {
    /// The time in RFC 3339.
    time: String,
    /// The zone that it is in.
    zone: String,
    /// The day of the week there.
    weekday: String,
    /// Seconds since 1970.
    unix_seconds: i64,
    /// What was decided where the time given was not clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Names of time zones.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Zones {
    /// The names, in order.
    names: Vec<String>,
    /// How many there are, those not given included.
    count: usize,
}

fn zone(name: Option<&str>) -> Result<TimeZone, Error> {
    name.map_or(Ok(TimeZone::UTC), |name| {
        zones::find(name).map_err(Error::arguments)
    })
}

fn moment(time: &Zoned, note: Option<&str>) -> (Json<Moment>, String) {
    let weekday = time.strftime("%A").to_string();
    let moment = Moment {
        time: instant::rfc3339(time),
        zone: instant::zone_name(time),
        weekday,
        unix_seconds: time.timestamp().as_second(),
        note: note.map(str::to_owned),
    };
    let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
    let text = format!(
        "{}, {} ({}){note}",
        moment.weekday, moment.time, moment.zone
    );
    (Json(moment), text)
}

fn now_in(since_1970: Duration, name: Option<&str>) -> Result<(Json<Moment>, String), Error> {
    let zone = zone(name)?;
    let seconds = i64::try_from(since_1970.as_secs())?;
    Ok(moment(
        &Timestamp::from_second(seconds)?.to_zoned(zone),
        None,
    ))
}

/// Tells the current date and time, in UTC or in a time zone.
#[tool(read_only, title = "Time now", uses = ["clock"])]
fn now(arguments: Now) -> Result<(Json<Moment>, String), Error> {
    now_in(clock::now()?, arguments.zone.as_deref())
}

/// Converts a time from one time zone to another.
#[tool(read_only, idempotent, title = "Convert a time")]
fn convert(arguments: Convert) -> Result<(Json<Moment>, String), Error> {
    let from = zone(arguments.from.as_deref())?;
    let to = zone(Some(&arguments.to))?;
    let time = instant::read(&arguments.time, &from).map_err(Error::arguments)?;
    let note = instant::ambiguity(&arguments.time, &from);
    Ok(moment(&time.with_time_zone(to), note))
}

/// Tells how far apart two times are: in years, months, days and so on by the calendar, and in exact seconds.
#[tool(read_only, idempotent, title = "Time between")]
fn difference(arguments: Between) -> Result<(Json<Difference>, String), Error> {
    let zone = zone(arguments.zone.as_deref())?;
    let from = instant::read(&arguments.from, &zone)
        .map_err(|why| Error::arguments(format_args!("`from`: {why}")))?;
    let to = instant::read(&arguments.to, &zone)
        .map_err(|why| Error::arguments(format_args!("`to`: {why}")))?;
    let difference = distance::between(&from, &to, &zone).map_err(Error::arguments)?;
    let text = format!(
        "{} is {} than {} (calendar days: {}; exact seconds: {}; zone: {})",
        difference.to,
        distance::in_words(&difference.calendar),
        difference.from,
        difference.days,
        difference.seconds,
        difference.zone,
    );
    Ok((Json(difference), text))
}

/// Lists the names of time zones, all or those that hold a text.
#[tool(read_only, idempotent, title = "Time zones", name = "zones")]
fn list_zones(arguments: Search) -> Result<(Json<Zones>, String), Error> {
    let (names, count) =
        zones::search(arguments.search.as_deref().unwrap_or(""), zones::MOST_NAMES);
    let text = if names.is_empty() {
        "no time zone has that in its name".to_owned()
    } else {
        names.join("\n")
    };
    Ok((Json(Zones { names, count }), text))
}

plugin! {
    summary: "The time now, times in other time zones, and how far apart two times are.",
    requires: [clock("To tell the time now.")],
    tools: [now, convert, difference, list_zones],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_the_clocks_time_in_the_zone() {
        let (Json(moment), text) = now_in(
            Duration::new(1_795_352_400, 999_000_000),
            Some("Asia/Kolkata"),
        )
        .unwrap();
        assert_eq!(moment.time, "2026-11-22T18:30:00+05:30");
        assert_eq!(text, "Sunday, 2026-11-22T18:30:00+05:30 (Asia/Kolkata)");
        assert_eq!(now_in(Duration::ZERO, None).unwrap().0.0.zone, "UTC");
        assert!(now_in(Duration::MAX, None).is_err());
        assert!(
            now_in(Duration::ZERO, Some("Mars"))
                .unwrap_err()
                .message()
                .contains("no time zone")
        );
    }

    #[test]
    fn convert_goes_from_zone_to_zone() {
        let convert = |time: &str, from: Option<&str>, to: &str| {
            convert(Convert {
                time: time.into(),
                from: from.map(Into::into),
                to: to.into(),
            })
        };
        let (Json(moment), _) = convert(
            "2026-07-01 09:00",
            Some("America/New_York"),
            "Europe/Berlin",
        )
        .unwrap();
        assert_eq!(
            (moment.time.as_str(), moment.weekday.as_str()),
            ("2026-07-01T15:00:00+02:00", "Wednesday")
        );
        let (Json(moment), _) = convert("2026-03-29 02:30", Some("Europe/Berlin"), "UTC").unwrap();
        assert!(moment.note.unwrap().contains("jump"));
        assert!(convert("noon", None, "UTC").is_err());
        assert!(convert("2026-07-01", None, "Atlantis").is_err());
    }

    #[test]
    fn difference_says_both_lengths() {
        let arguments = Between {
            from: "2026-03-28T12:00".into(),
            to: "2026-03-29T12:00".into(),
            zone: Some("Europe/Berlin".into()),
        };
        let (Json(difference), text) = difference(arguments).unwrap();
        assert_eq!(difference.seconds, 82_800);
        assert_eq!(
            text,
            "2026-03-29T12:00:00+02:00 is 1 day later than 2026-03-28T12:00:00+01:00 \
             (calendar days: 1; exact seconds: 82800; zone: Europe/Berlin)"
        );
    }

    #[test]
    fn zones_are_listed() {
        let (Json(all), _) = list_zones(Search { search: None }).unwrap();
        assert_eq!(all.names.len(), all.count);
        assert_eq!(
            list_zones(Search {
                search: Some("xyzzy".into())
            })
            .unwrap()
            .1,
            "no time zone has that in its name"
        );
    }
}
