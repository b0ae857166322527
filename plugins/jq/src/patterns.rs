//! Regular expressions, in linear time (`regex-lite`): no pattern makes a filter hang.

use jaq_core::Bind;
use jaq_core::native::{Fun, bome, run};
use jaq_json::{Error, Val, ValR};
use regex_lite::{Regex, RegexBuilder};

use crate::natives::{Data, object, string, text};

/// Bytes of a compiled pattern: a repetition such as `a{1000}{1000}` would fill the memory.
const COMPILED_BYTES: usize = 1 << 20;

#[derive(Debug, Default, Clone, Copy)]
struct Flags {
    global: bool,
    skip_empty: bool,
}

fn compile(pattern: &str, flags: &str) -> Result<(Regex, Flags), Error> {
    let mut builder = RegexBuilder::new(pattern);
    let mut out = Flags::default();
    for flag in flags.chars() {
        match flag {
            'g' => out.global = true,
            'n' => out.skip_empty = true,
            'i' => drop(builder.case_insensitive(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'm' => drop(builder.multi_line(true)),
            'l' => drop(builder.swap_greed(true)),
            'p' => drop(builder.multi_line(true).dot_matches_new_line(true)),
            other => return Err(Error::str(format_args!("invalid regex flag: {other}"))),
        }
    }
    let regex = builder
        .size_limit(COMPILED_BYTES)
        .build()
        .map_err(|error| Error::str(format_args!("invalid regex: {error}")))?;
    Ok((regex, out))
}

/// Counts characters up to growing byte offsets, each character once.
struct Offsets<'a> {
    text: &'a str,
    byte: usize,
    character: usize,
}

impl Offsets<'_> {
    fn at(&mut self, byte: usize) -> usize {
        // Groups of one match may lie before the one counted last.
        if byte < self.byte {
            return self
                .text
                .get(..byte)
                .map_or(0, |before| before.chars().count());
        }
        self.character += self
            .text
            .get(self.byte..byte)
            .map_or(0, |between| between.chars().count());
        self.byte = byte;
        self.character
    }
}

/// The parts of `subject`: what lies between matches where `between`, the matches where `matches`.
fn parts(subject: &Val, pattern: &Val, flags: &Val, between: bool, matches: bool) -> ValR {
    let subject = text(subject)?;
    let (regex, flags) = compile(text(pattern)?, text(flags)?)?;
    let mut offsets = Offsets {
        text: subject,
        byte: 0,
        character: 0,
    };
    let mut out = Vec::new();
    let mut last = 0;
    for captures in regex.captures_iter(subject) {
        let Some(whole) = captures.get(0) else {
            continue;
        };
        if flags.skip_empty && whole.is_empty() {
            continue;
        }
        if between {
            out.push(string(subject.get(last..whole.start()).unwrap_or("")));
            last = whole.end();
        }
        if matches {
            let mut groups = Vec::new();
            for (group, name) in captures.iter().zip(regex.capture_names()) {
                let Some(group) = group else { continue };
                let mut members = vec![
                    ("offset", Val::from(offsets.at(group.start()))),
                    ("length", Val::from(group.as_str().chars().count())),
                    ("string", string(group.as_str())),
                ];
                members.extend(name.map(|name| ("name", string(name))));
                groups.push(object(members)?);
            }
            out.push(groups.into_iter().collect());
        }
        if !flags.global {
            break;
        }
    }
    if between {
        out.push(string(subject.get(last..).unwrap_or("")));
    }
    Ok(out.into_iter().collect())
}

pub(crate) fn all() -> impl Iterator<Item = Fun<Data>> {
    let arguments = || [Bind::Var(()), Bind::Var(())].into();
    [
        run::<Data>(("matches", arguments(), |mut cv| {
            let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
            bome(parts(&cv.1, &pattern, &flags, false, true))
        })),
        run::<Data>(("split_matches", arguments(), |mut cv| {
            let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
            bome(parts(&cv.1, &pattern, &flags, true, true))
        })),
        run::<Data>(("split_", arguments(), |mut cv| {
            let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
            bome(parts(&cv.1, &pattern, &flags, true, false))
        })),
    ]
    .into_iter()
}
