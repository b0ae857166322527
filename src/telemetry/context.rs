//! The trace that a request belongs to, as W3C Trace Context writes it, from the request's `_meta`.
//!
//! It comes from the client, so it is read strictly, bounded, and worth nothing: it decides which trace a
//! span is shown in, and no more. What is malformed is no parent at all, as the standard has it.

/// The longest `tracestate` that is passed on; the standard asks for at least so much.
const STATE: usize = 512;
/// Members of it.
const MEMBERS: usize = 32;

/// The parent of a call's span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) flags: u8,
    pub(super) state: String,
}

impl TraceParent {
    /// Reads `traceparent`, and `tracestate` where there is one. A state that is malformed is dropped; the
    /// parent counts all the same.
    #[must_use]
    pub fn read(parent: &str, state: Option<&str>) -> Option<Self> {
        let mut parts = parent.split('-');
        let version = one(parts.next()?)?;
        let trace: [u8; 16] = digits(parts.next()?)?;
        let span: [u8; 8] = digits(parts.next()?)?;
        let flags = one(parts.next()?)?;
        // Version 0 ends here; later ones may say more, and begin the same.
        let ends = parts.next().is_none();
        if version == 0xff || version == 0 && !ends || trace == [0; 16] || span == [0; 8] {
            return None;
        }
        Some(Self {
            trace,
            span,
            flags,
            state: state
                .filter(|state| is_state(state))
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// Whether the client records this trace.
    pub(super) const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

fn one(text: &str) -> Option<u8> {
    digits::<1>(text).map(|[byte]| byte)
}

/// Exactly as many bytes, in lower case.
fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Whether it is a list of `key=value`, each key once, in letters that the standard allows.
fn is_state(state: &str) -> bool {
    let mut keys = Vec::new();
    if state.len() > STATE {
        return false;
    }
    for member in state
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
    {
        if member.is_empty() {
            continue;
        }
        let Some((key, value)) = member.split_once('=') else {
            return false;
        };
        if !is_key(key) || !is_value(value) || keys.contains(&key) {
            return false;
        }
        keys.push(key);
    }
    keys.len() <= MEMBERS
}

fn is_key(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(&b);
    let good = |part: &str, longest: usize| {
        (1..=longest).contains(&part.len())
            && part.bytes().all(plain)
            && part
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    match key.split_once('@') {
        None => good(key, 256),
        Some((tenant, system)) => good(tenant, 241) && good(system, 14),
    }
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && !value.ends_with(' ')
        && value
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b) && b != b',' && b != b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(parent: &str) -> Option<TraceParent> {
        TraceParent::read(parent, None)
    }

    #[test]
    fn the_standards_example_is_read() {
        let parent = read(GOOD).unwrap();
        assert_eq!(
            hex::encode(parent.trace),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(hex::encode(parent.span), "00f067aa0ba902b7");
        assert!(parent.is_sampled());
        assert!(!read(&GOOD.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn what_is_malformed_is_no_parent() {
        for bad in [
            String::new(),
            String::from("00"),
            GOOD.to_uppercase(),
            GOOD.replacen("00-", "ff-", 1),
            format!("{GOOD}-more"),
            format!("{GOOD} "),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902"),
            GOOD.replace("4bf9", "4bg9"),
            GOOD.replace('-', "_"),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
        // A later version may say more.
        assert!(read(&format!("{}-more", GOOD.replacen("00-", "01-", 1))).is_some());
    }

    #[test]
    fn a_state_is_passed_on_where_it_is_one() {
        let state = |state: &str| TraceParent::read(GOOD, Some(state)).unwrap().state;
        for good in [
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "fw529a3039@dt=FfAFGGQ,a=b c",
        ] {
            assert_eq!(state(good), good);
        }
        let long = format!("a={}", "x".repeat(600));
        let many: Vec<_> = (0..40).map(|n| format!("k{n}=v")).collect();
        for bad in [
            "a",
            "A=b",
            "a=b,a=c",
            "a=\u{e9}",
            "a=b\nc=d",
            "=b",
            "a=",
            &long,
            &many.join(","),
        ] {
            assert_eq!(state(bad), "", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(parent in ".{0,80}", state in ".{0,80}") {
            let _ = TraceParent::read(&parent, Some(&state));
        }

        #[test]
        fn what_is_written_is_read(trace in any::<u128>(), span in any::<u64>(), flags in any::<u8>()) {
            let parent = read(&format!("00-{trace:032x}-{span:016x}-{flags:02x}"));
            prop_assert_eq!(parent.is_some(), trace != 0 && span != 0);
            if let Some(parent) = parent {
                prop_assert_eq!(u128::from_be_bytes(parent.trace), trace);
                prop_assert_eq!(u64::from_be_bytes(parent.span), span);
                prop_assert_eq!(parent.flags, flags);
            }
        }
    }
}
