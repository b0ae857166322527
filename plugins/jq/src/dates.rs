//! jq's dates, in UTC: this plugin has neither a clock nor a local time zone.

use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_json::{Error, Val, ValR};
use jaq_std::ValT as _;
use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::natives::{Data, string, text};

/// Seconds since 1970, as a number.
fn timestamp(value: &Val) -> Result<Timestamp, Error> {
    let seconds = value
        .as_f64()
        .ok_or_else(|| Error::str(format_args!("cannot convert {value} to time")))?;
    // To the microsecond, which is what a double still holds of a present-day time.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and jiff refuses what is out of range"
    )]
    let micros = (seconds * 1e6).round() as i64;
    Timestamp::from_microsecond(micros).map_err(Error::str)
}

fn seconds(timestamp: Timestamp) -> Val {
    let micros = timestamp.as_microsecond();
    if micros % 1_000_000 == 0 {
        isize::try_from(timestamp.as_second())
            .map_or_else(|_| big(timestamp.as_second()), Val::from)
    } else {
        // Under 2^53 for every time before the year 2255.
        #[expect(clippy::cast_precision_loss, reason = "jq's times are doubles")]
        Val::from(micros as f64 / 1e6)
    }
}

/// Where an `isize` has 32 bits.
fn big(seconds: i64) -> Val {
    Val::Num(jaq_json::Num::from_integral(seconds))
}

/// From jq's "broken down time": year, month from 0, day, hours, minutes, seconds.
fn from_parts(value: &Val) -> Result<DateTime, Error> {
    let fail = || Error::str(format_args!("cannot convert {value} to time"));
    let Val::Arr(parts) = value else {
        return Err(fail());
    };
    let whole = |index: usize| parts.get(index).and_then(Val::whole).ok_or_else(fail);
    let second = parts
        .get(5)
        .and_then(|part| part.as_f64())
        .ok_or_else(fail)?;
    let small = |n: i64| i8::try_from(n).map_err(|_| fail());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both casts saturate, and jiff refuses what is out of range"
    )]
    let (whole_second, nanosecond) = (second.floor() as i8, (second.fract() * 1e9) as i32);
    DateTime::new(
        i16::try_from(whole(0)?).map_err(|_| fail())?,
        small(whole(1)?.checked_add(1).ok_or_else(fail)?)?,
        small(whole(2)?)?,
        small(whole(3)?)?,
        small(whole(4)?)?,
        whole_second,
        nanosecond,
    )
    .map_err(Error::str)
}

trait Whole {
    fn whole(&self) -> Option<i64>;
}

impl Whole for Val {
    fn whole(&self) -> Option<i64> {
        self.as_isize().and_then(|i| i64::try_from(i).ok())
    }
}

fn to_parts(time: DateTime) -> Val {
    let part = |n: i16| Val::from(isize::from(n));
    let second = if time.subsec_nanosecond() == 0 {
        part(time.second().into())
    } else {
        Val::from(f64::from(time.second()) + f64::from(time.subsec_nanosecond()) / 1e9)
    };
    [
        part(time.year()),
        part(i16::from(time.month()) - 1),
        part(time.day().into()),
        part(time.hour().into()),
        part(time.minute().into()),
        second,
        part(time.weekday().to_sunday_zero_offset().into()),
        part(time.day_of_year() - 1),
    ]
    .into_iter()
    .collect()
}

fn zoned(value: &Val) -> Result<Zoned, Error> {
    match value {
        Val::Arr(_) => from_parts(value)?
            .to_zoned(TimeZone::UTC)
            .map_err(Error::str),
        other => Ok(timestamp(other)?.to_zoned(TimeZone::UTC)),
    }
}

/// The fields as they are written, as jq gives them: an offset in the text is read and not applied. A time zone is never
/// looked up, so that the database of time zones is not in the component.
fn parse(value: &str, format: &str) -> ValR {
    let time = BrokenDownTime::parse(format, value).map_err(Error::str)?;
    Ok(to_parts(time.to_datetime().map_err(Error::str)?))
}

pub(crate) fn all() -> impl Iterator<Item = Fun<Data>> {
    [
        run::<Data>(("fromdateiso8601", v(0), |cv| {
            bome(
                text(&cv.1)
                    .and_then(|s| s.parse().map_err(Error::str))
                    .map(seconds),
            )
        })),
        run::<Data>(("todateiso8601", v(0), |cv| {
            bome(timestamp(&cv.1).map(|t| string(t.to_string())))
        })),
        run::<Data>(("strftime", v(1), |cv| {
            unary(cv, |value, format| {
                strtime::format(text(&format)?, &zoned(&value)?)
                    .map(string)
                    .map_err(Error::str)
            })
        })),
        run::<Data>(("gmtime", v(0), |cv| {
            bome(timestamp(&cv.1).map(|t| to_parts(t.to_zoned(TimeZone::UTC).datetime())))
        })),
        run::<Data>(("strptime", v(1), |cv| {
            unary(cv, |value, format| parse(text(&value)?, text(&format)?))
        })),
        run::<Data>(("mktime", v(0), |cv| {
            bome(
                from_parts(&cv.1)
                    .and_then(|time| time.to_zoned(TimeZone::UTC).map_err(Error::str))
                    .map(|time| seconds(time.timestamp())),
            )
        })),
    ]
    .into_iter()
}
