//! Texts of plugins that models and people read: what may not stand in them.

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    /// The code point.
    pub(crate) code_point: u32,
    /// What it is.
    pub(crate) what: &'static str,
}

impl std::fmt::Display for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (U+{:04X})", self.what, self.code_point)
    }
}

/// The first character of `text` that a reader does not see and a model does, or that makes a
/// terminal or a bidirectional display show something else than what stands there.
pub(crate) fn hidden(text: &str) -> Option<Hidden> {
    text.chars().find_map(|c| {
        let what = match c {
            '\n' | '\t' => return None,
            c if c.is_control() => "a control character",
            '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{2064}'
            | '\u{feff}'
            | '\u{00ad}'
            | '\u{180e}' => "an invisible character",
            '\u{200e}'
            | '\u{200f}'
            | '\u{061c}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{206f}' => "a bidirectional control",
            '\u{fe00}'..='\u{fe0e}' | '\u{e0100}'..='\u{e01ef}' => "a variation selector",
            '\u{e0000}'..='\u{e007f}' => "a tag character",
            '\u{fff9}'..='\u{fffb}' => "an annotation character",
            '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => "a private-use character",
            '\u{2028}' | '\u{2029}' => "a line or paragraph separator",
            _ => return None,
        };
        Some(Hidden {
            code_point: u32::from(c),
            what,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_language_passes() {
        for text in [
            "Fetches a page.",
            "Größe – naïve café",
            "日本語の説明",
            "emoji 🙂 ok",
            "two\nlines\tand a tab",
        ] {
            assert_eq!(hidden(text), None, "{text}");
        }
    }

    #[test]
    fn what_hides_is_found() {
        for text in [
            "a\u{1b}[31m",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{e0041}",
            "a\0",
            "a\u{9b}31m",
            "\u{feff}a",
            "a\u{fe01}",
        ] {
            assert!(hidden(text).is_some(), "{text:?}");
        }
    }
}
