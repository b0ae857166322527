//! A long text in parts, by characters.

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    /// Where it starts, in characters.
    pub(crate) start: usize,
    /// Where it ends: the start of the next part.
    pub(crate) end: usize,
    /// Characters in all.
    pub(crate) total: usize,
}

/// The part of `text` from the character `start`, at most `length` characters long. It ends after a line where one ends
/// in its last quarter, or else after a word, so that parts read well and still join up exactly.
///
/// # Errors
///
/// Where `start` is past the end.
pub(crate) fn part(text: &str, start: usize, length: usize) -> Result<Part<'_>, String> {
    let total = text.chars().count();
    if start > total || (start == total && total > 0) {
        return Err(format!(
            "`start` is {start}, but the text has {total} characters"
        ));
    }
    let from = byte(text, start);
    let rest = text.get(from..).unwrap_or("");
    let whole = rest.get(..byte(rest, length)).unwrap_or(rest);
    let text = if whole.len() == rest.len() {
        whole
    } else {
        at_a_break(whole, length)
    };
    Ok(Part {
        text,
        start,
        end: start + text.chars().count(),
        total,
    })
}

fn byte(text: &str, character: usize) -> usize {
    text.char_indices()
        .nth(character)
        .map_or(text.len(), |(byte, _)| byte)
}

fn at_a_break(whole: &str, length: usize) -> &str {
    let least = byte(whole, length - length / 4);
    for break_at in ['\n', ' '] {
        if let Some(at) = whole.rfind(break_at)
            && at >= least
        {
            return whole.get(..=at).unwrap_or(whole);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_end_after_lines_or_words() {
        let text = "one two\nthree four five six";
        assert_eq!(part(text, 0, 9).unwrap().text, "one two\n");
        assert_eq!(part(text, 8, 12).unwrap().text, "three four ");
        assert_eq!(
            part(text, 19, 100).unwrap(),
            Part {
                text: "five six",
                start: 19,
                end: 27,
                total: 27
            }
        );
        assert_eq!(part("äöü", 1, 1).unwrap().text, "ö");
        assert_eq!(
            part("", 0, 10).unwrap(),
            Part {
                text: "",
                start: 0,
                end: 0,
                total: 0
            }
        );
        assert_eq!(
            part("abc", 3, 1).unwrap_err(),
            "`start` is 3, but the text has 3 characters"
        );
        assert!(part("abc", usize::MAX, 1).is_err());
    }

    proptest! {
        #[test]
        fn parts_join_up_to_the_text(text in "[a-zä \\n]{1,200}", length in 1_usize..50) {
            let mut joined = String::new();
            let mut start = 0;
            while start < text.chars().count() {
                let part = part(&text, start, length).unwrap();
                prop_assert!(part.end > start && part.text.chars().count() <= length);
                joined.push_str(part.text);
                start = part.end;
            }
            prop_assert_eq!(joined, text);
        }
    }
}
