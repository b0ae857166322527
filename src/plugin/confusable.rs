//! Names of plugins that one could take for another's.
//!
//! Names have the letters `a`-`z`, `0`-`9`, `_` and `-` only, so nothing of another script gets
//! here. What is left: letters that look alike (`email`, `emai1`), separators (`my-tool`,
//! `my_tool`), and a slip of the finger (`github`, `gihtub`). Such a name waits for the operator,
//! once, where a plugin that it can be taken for is there already.

use unicode_security::skeleton;

/// Below this a slip of one letter is likely to be another word: `jq` and `js`, `fs` and `s3`.
const LEAST_TYPO: usize = 5;

/// Whether somebody could take `new` for `known`, which is another name.
pub(super) fn confusable(new: &str, known: &str) -> bool {
    looks(new) == looks(known) || is_typo(&folded(new), &folded(known))
}

/// How a name looks: the skeleton of UTS #39, its letters in one case, its separators as one. The
/// skeleton of `0` is the capital `O`, so the case goes afterwards.
pub(super) fn looks(name: &str) -> String {
    let skeleton: String = skeleton(name).collect();
    folded(&skeleton.to_lowercase())
}

fn folded(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether one slip makes `a` of `b`: a letter more, less, another one, or two that changed places.
///
/// A slip in digits alone is none: `db1` and `db2`, `report` and `report2` are how people name what
/// belongs together, and a digit is seen.
fn is_typo(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.len() < LEAST_TYPO {
        return false;
    }
    let head = short.iter().zip(&long).take_while(|(a, b)| a == b).count();
    let tail = short
        .iter()
        .rev()
        .zip(long.iter().rev())
        .take(short.len() - head)
        .take_while(|(a, b)| a == b)
        .count();
    let middle = |letters: &[char]| -> Vec<char> {
        letters
            .iter()
            .skip(head)
            .take(letters.len() - head - tail)
            .copied()
            .collect()
    };
    match (middle(&short).as_slice(), middle(&long).as_slice()) {
        ([], [more]) => !more.is_ascii_digit(),
        ([a], [b]) => !(a.is_ascii_digit() && b.is_ascii_digit()),
        ([a, b], [c, d]) => a == d && b == c && !(a.is_ascii_digit() && b.is_ascii_digit()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_look_alike() {
        for (new, known) in [
            ("send_emai1", "send_email"),
            ("emai1", "email"),
            ("g1thub", "glthub"),
            ("st0re", "store"),
            ("rnail", "mail"),
            ("my_tool", "my-tool"),
            ("db1", "dbl"),
        ] {
            assert!(confusable(new, known), "{new} {known}");
        }
    }

    #[test]
    fn a_slip_of_the_finger() {
        for (new, known) in [
            ("githib", "github"),
            ("gihtub", "github"),
            ("gthub", "github"),
            ("githubb", "github"),
            ("fetchs", "fetch"),
            ("xfetch", "fetch"),
        ] {
            assert!(confusable(new, known), "{new} {known}");
        }
    }

    #[test]
    fn other_names_are_other_names() {
        for (new, known) in [
            ("report", "report_finance"),
            ("report2", "report"),
            ("case-12", "case-13"),
            ("case-12", "case-21"),
            ("jq", "js"),
            ("time", "tide"),
            ("github", "gitlab"),
            ("fetch", "probe"),
        ] {
            assert!(!confusable(new, known), "{new} {known}");
        }
    }

    proptest! {
        #[test]
        fn it_goes_both_ways_and_never_fails(a in "[a-z0-9_-]{0,32}", b in "[a-z0-9_-]{0,32}") {
            prop_assert_eq!(confusable(&a, &b), confusable(&b, &a));
        }

        #[test]
        fn one_letter_less_is_found(name in "[a-z]{6,32}", at in 0_usize..6) {
            let mut other: Vec<char> = name.chars().collect();
            other.remove(at);
            let other: String = other.into_iter().collect();
            prop_assert!(confusable(&other, &name));
        }
    }
}
