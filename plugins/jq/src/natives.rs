//! The filters of jq that jaq leaves to its surroundings: formats, regular expressions, dates.
//!
//! `jaq_std` has them too, but only as one set together with `now`, `env` and the local time zone,
//! whose very presence would make the component import a wall clock and an environment. This plugin
//! is pure, so it brings its own set, without those.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jaq_core::box_iter::BoxIter;
use jaq_core::data::JustLut;
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Cv, ValT as _};
use jaq_json::{Error, Val, ValR};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::{dates, math, patterns};

pub(crate) type Data = JustLut<Val>;

/// Every native filter that a filter may name.
pub(crate) fn all() -> impl Iterator<Item = Fun<Data>> {
    jaq_core::funs()
        .chain(jaq_std::base_funs())
        .chain(jaq_json::funs())
        .chain(formats())
        .chain(silent())
        .chain(math::all())
        .chain(patterns::all())
        .chain(dates::all())
}

/// The text of a value.
pub(crate) fn text(value: &Val) -> Result<&str, Error> {
    match value {
        Val::TStr(bytes) => std::str::from_utf8(bytes).map_err(Error::str),
        other => Err(Error::str(format_args!("cannot use {other} as text"))),
    }
}

pub(crate) fn string(text: impl Into<String>) -> Val {
    Val::from(text.into())
}

/// What RFC 3986 leaves unreserved, as jq's `@uri`.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn formats() -> impl Iterator<Item = Fun<Data>> {
    [
        run::<Data>(("escape_html", v(0), |cv| {
            bome(text(&cv.1).map(|s| string(escape_html(s))))
        })),
        run::<Data>(("unescape_html", v(0), |cv| {
            bome(text(&cv.1).map(|s| string(unescape_html(s))))
        })),
        run::<Data>(("encode_uri", v(0), |cv| {
            bome(text(&cv.1).map(|s| string(utf8_percent_encode(s, KEPT).to_string())))
        })),
        run::<Data>(("decode_uri", v(0), |cv| {
            bome(text(&cv.1).map(|s| string(percent_decode(s.as_bytes()).decode_utf8_lossy())))
        })),
        run::<Data>(("encode_base64", v(0), |cv| {
            bome(text(&cv.1).map(|s| string(STANDARD.encode(s))))
        })),
        run::<Data>(("decode_base64", v(0), |cv| {
            bome(text(&cv.1).and_then(|s| {
                let bytes = STANDARD.decode(s).map_err(Error::str)?;
                Ok(string(String::from_utf8_lossy(&bytes)))
            }))
        })),
    ]
    .into_iter()
}

/// `debug` and `stderr` pass their input on and show nothing: there is nobody to show it to.
fn silent() -> impl Iterator<Item = Fun<Data>> {
    fn nothing(_: Cv<'_, Data>) -> BoxIter<'_, jaq_core::ValX<'_, Val>> {
        Box::new(std::iter::empty())
    }
    [
        run::<Data>(("debug_empty", v(0), nothing)),
        run::<Data>(("stderr_empty", v(0), nothing)),
    ]
    .into_iter()
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// One pass, so that `&amp;lt;` becomes `&lt;` and no more.
fn unescape_html(text: &str) -> String {
    const NAMES: [(&str, char); 6] = [
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&amp;", '&'),
        ("&#39;", '\''),
        ("&apos;", '\''),
        ("&quot;", '"'),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, _)) = rest.split_once('&') {
        out.push_str(before);
        let Some(from) = rest.get(before.len()..) else {
            break;
        };
        if let Some((name, c)) = NAMES.iter().find(|(name, _)| from.starts_with(name)) {
            out.push(*c);
            rest = from.strip_prefix(name).unwrap_or("");
        } else {
            out.push('&');
            rest = from.strip_prefix('&').unwrap_or("");
        }
    }
    out.push_str(rest);
    out
}

/// An object of these members.
pub(crate) fn object(members: impl IntoIterator<Item = (&'static str, Val)>) -> ValR {
    Val::from_map(members.into_iter().map(|(key, value)| (string(key), value)))
}
