//! Pages of a list whose items stand in the order of their names.
//!
//! A cursor says after which name to go on, so that a list that changes between two pages neither repeats
//! an item nor leaves one out that was there all the time. Whoever makes one up learns nothing: it is a
//! place in what this agent sees anyway, whether or not anything has that name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::ErrorData;

/// What a cursor begins with, before it is written in base64: one of another form is none of ours.
const FORM: &str = "1:";

/// The items after `cursor`, at most `size` of them, and the cursor to the next page where there is one.
///
/// # Errors
///
/// -32602: the cursor is none that this server gave out.
pub(super) fn page<'a, T>(
    items: &'a [T],
    name: impl Fn(&T) -> &str,
    cursor: Option<&str>,
    size: usize,
) -> Result<(&'a [T], Option<String>), ErrorData> {
    debug_assert!(items.is_sorted_by(|a, b| name(a) <= name(b)));
    let from = match cursor {
        None => 0,
        Some(cursor) => {
            let last =
                read(cursor).ok_or_else(|| ErrorData::invalid_params("unknown cursor", None))?;
            items.partition_point(|item| name(item) <= last.as_str())
        }
    };
    let rest = items.get(from..).unwrap_or_default();
    let shown = rest.get(..size).unwrap_or(rest);
    let next = (rest.len() > shown.len())
        .then(|| shown.last().map(|item| write(name(item))))
        .flatten();
    Ok((shown, next))
}

fn write(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{FORM}{name}"))
}

fn read(cursor: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(FORM).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rmcp::model::ErrorCode;

    use super::*;

    fn names<'a>(items: &'a [String], cursor: Option<&str>) -> (&'a [String], Option<String>) {
        page(items, String::as_str, cursor, 2).unwrap()
    }

    #[test]
    fn a_list_that_changes_between_two_pages_goes_on_where_it_was() {
        let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let (before, after) = (of(&["a", "b", "c", "d"]), of(&["aa", "c", "d", "e"]));
        let (first, next) = names(&before, None);
        assert_eq!(first, ["a", "b"]);
        // The last one of the page before is gone, and one came before it.
        let (second, next) = names(&after, next.as_deref());
        assert_eq!(second, ["c", "d"]);
        let (third, end) = names(&after, next.as_deref());
        assert_eq!((third, end), (&["e".to_owned()][..], None));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let items = [String::from("a")];
        for cursor in ["", "a", "b", "%%%", "MTp", &URL_SAFE_NO_PAD.encode("2:a")] {
            let refused = page(&items, String::as_str, Some(cursor), 2);
            let error = refused.unwrap_err();
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{cursor}");
        }
    }

    proptest! {
        #[test]
        fn pages_cover_every_item_once(names in prop::collection::btree_set("[a-c]{1,4}", 0..40), size in 1_usize..9) {
            let all: Vec<String> = names.iter().cloned().collect();
            let (mut seen, mut cursor): (Vec<String>, Option<String>) = (Vec::new(), None);
            loop {
                let (some, next) = page(&all, String::as_str, cursor.as_deref(), size).unwrap();
                prop_assert!(some.len() <= size);
                seen.extend(some.iter().cloned());
                let Some(next) = next else { break };
                prop_assert_eq!(some.len(), size);
                cursor = Some(next);
            }
            prop_assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), names);
            prop_assert_eq!(seen, all);
        }
    }
}
