//! From bytes to text: what kind of content it is, and in which charset.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::follow::{Reply, excerpt};

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A page of HTML.
    Html,
    /// Text that is passed on as it is.
    Text,
}

/// A body as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) kind: Kind,
    /// The media type, without parameters; what it was taken for where the server did not say.
    pub(crate) media_type: String,
    pub(crate) text: String,
}

/// How much of a page is looked through for a charset, as browsers do.
const PRESCAN_BYTES: usize = 1_024;

/// Reads the body of a reply.
///
/// # Errors
///
/// Where it is nothing that can be read as text, naming the type.
pub(crate) fn read(reply: &Reply) -> Result<Body, String> {
    if let Some(coding) = reply.header("content-encoding")
        && !coding.is_empty()
        && !coding.eq_ignore_ascii_case("identity")
    {
        return Err(format!(
            "the server compressed the page (`{}`) although it was asked not to",
            excerpt(coding, 40)
        ));
    }
    let declared = reply.header("content-type").unwrap_or("");
    let (media_type, parameters) = declared.split_once(';').unwrap_or((declared, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    let (kind, media_type) = match kind(&media_type) {
        Some(kind) => (kind, media_type),
        None if media_type.is_empty() || media_type == "application/octet-stream" => {
            match sniff(&reply.body) {
                Some(Kind::Html) => (Kind::Html, "text/html".to_owned()),
                Some(Kind::Text) => (Kind::Text, "text/plain".to_owned()),
                None => {
                    return Err(
                        "the content is not text, and the server does not say what it is"
                            .to_owned(),
                    );
                }
            }
        }
        None => {
            return Err(format!(
                "the content is of type `{}`, which can't be read as text (HTML, plain text, Markdown, JSON and XML can)",
                excerpt(&media_type, 80)
            ));
        }
    };
    let encoding = encoding(&reply.body, parameters, kind);
    let (text, _, _) = encoding.decode(&reply.body);
    Ok(Body {
        kind,
        media_type,
        text: text.into_owned(),
    })
}

fn kind(media_type: &str) -> Option<Kind> {
    match media_type {
        "text/html" | "application/xhtml+xml" => Some(Kind::Html),
        // Text by name, binary by nature.
        "text/rtf" => None,
        "application/json"
        | "application/xml"
        | "application/javascript"
        | "application/yaml"
        | "application/x-yaml"
        | "application/toml"
        | "application/x-ndjson"
        | "application/markdown"
        | "application/sql" => Some(Kind::Text),
        other if other.starts_with("text/") => Some(Kind::Text),
        other
            if other.starts_with("application/")
                && (other.ends_with("+json") || other.ends_with("+xml")) =>
        {
            Some(Kind::Text)
        }
        _ => None,
    }
}

fn sniff(body: &[u8]) -> Option<Kind> {
    let head = body.get(..PRESCAN_BYTES).unwrap_or(body);
    if Encoding::for_bom(head).is_none() && head.contains(&0) {
        return None;
    }
    // Past what the prescan cuts, a character may be cut in two; the body as a whole decides.
    if Encoding::for_bom(head).is_none() && std::str::from_utf8(body).is_err() {
        return None;
    }
    let start = String::from_utf8_lossy(head)
        .trim_start()
        .to_ascii_lowercase();
    let html = [
        "<!doctype html",
        "<html",
        "<head",
        "<body",
        "<title",
        "<meta",
        "<article",
        "<h1",
        "<p>",
        "<div",
    ];
    Some(if html.iter().any(|tag| start.starts_with(tag)) {
        Kind::Html
    } else {
        Kind::Text
    })
}

/// The charset: of a byte order mark, of the header, of a `<meta>` of the page, and else UTF-8 or what browsers take
/// for the rest.
fn encoding(body: &[u8], parameters: &str, kind: Kind) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(body) {
        return encoding;
    }
    if let Some(encoding) =
        label(parameters).and_then(|label| Encoding::for_label(label.as_bytes()))
    {
        return encoding;
    }
    if kind == Kind::Html {
        let head = body.get(..PRESCAN_BYTES).unwrap_or(body);
        let head: String = head
            .iter()
            .map(|byte| char::from(*byte).to_ascii_lowercase())
            .collect();
        if let Some(encoding) = label(&head).and_then(|label| Encoding::for_label(label.as_bytes()))
        {
            // A page that can be read this far is not UTF-16, whatever it says.
            return if encoding == UTF_16BE || encoding == UTF_16LE {
                UTF_8
            } else {
                encoding
            };
        }
    }
    if std::str::from_utf8(body).is_ok() {
        UTF_8
    } else {
        WINDOWS_1252
    }
}

/// The value after `charset=`.
fn label(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (_, after) = lower.split_once("charset")?;
    let after = after.trim_start().strip_prefix('=')?.trim_start();
    let label: String = after
        .trim_start_matches(['"', '\''])
        .chars()
        .take_while(|c| !matches!(c, '"' | '\'' | ';' | '>' | ' ' | '/' | '\t' | '\r' | '\n'))
        .take(40)
        .collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(content_type: &str, body: &[u8]) -> Reply {
        Reply {
            status: 200,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: body.to_vec(),
        }
    }

    fn text(content_type: &str, body: &[u8]) -> String {
        read(&reply(content_type, body)).unwrap().text
    }

    #[test]
    fn kinds_are_told_by_type() {
        for (media_type, expected) in [
            ("text/html; charset=utf-8", Kind::Html),
            ("TEXT/HTML", Kind::Html),
            ("application/xhtml+xml", Kind::Html),
            ("text/plain", Kind::Text),
            ("text/markdown", Kind::Text),
            ("application/json", Kind::Text),
            ("application/ld+json", Kind::Text),
            ("application/atom+xml", Kind::Text),
        ] {
            assert_eq!(
                read(&reply(media_type, b"x")).unwrap().kind,
                expected,
                "{media_type}"
            );
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for media_type in [
            "application/pdf",
            "image/png",
            "video/mp4",
            "application/zip",
            "text/rtf",
            "x",
            "image/svg+xml",
        ] {
            let error = read(&reply(media_type, b"x")).unwrap_err();
            assert!(error.contains(&format!("`{media_type}`")), "{error}");
        }
        let error = read(&reply(&"a/".repeat(5_000), b"x")).unwrap_err();
        assert!(error.len() < 300);
    }

    #[test]
    fn what_has_no_type_is_looked_at() {
        assert_eq!(
            read(&Reply {
                body: b" <!DOCTYPE html><p>x".to_vec(),
                ..Reply::default()
            })
            .unwrap()
            .kind,
            Kind::Html
        );
        assert_eq!(
            read(&Reply {
                body: "hällo".into(),
                ..Reply::default()
            })
            .unwrap()
            .kind,
            Kind::Text
        );
        assert!(
            read(&Reply {
                body: b"\x89PNG\r\n\x1a\n\0\0".to_vec(),
                ..Reply::default()
            })
            .is_err()
        );
        assert!(
            read(&reply(
                "application/octet-stream",
                &[0xff, 0xd8, 0xff, 0xe0]
            ))
            .is_err()
        );
    }

    #[test]
    fn charsets_are_found_where_they_are_said() {
        assert_eq!(text("text/html; charset=ISO-8859-1", b"\xe4"), "ä");
        assert_eq!(
            text("text/plain;charset=\"Shift_JIS\"", b"\x93\xfa\x96\x7b"),
            "日本"
        );
        assert_eq!(
            text("text/html", b"<meta charset=\"koi8-r\"><p>\xc4\xc1"),
            "<meta charset=\"koi8-r\"><p>да"
        );
        assert!(
            text(
                "text/html",
                b"<META http-equiv=content-type content='text/html; charset=windows-1251'>\xe4\xe0"
            )
            .ends_with("да")
        );
        assert_eq!(
            text("text/html; charset=utf-8", b"\xff\xfed\0a\0"),
            "da",
            "a byte order mark goes first"
        );
        assert_eq!(
            text("text/html", b"<meta charset=utf-16>\xc3\xa4"),
            "<meta charset=utf-16>ä"
        );
    }

    #[test]
    fn a_charset_that_does_not_exist_or_lies_is_survived() {
        assert_eq!(text("text/html; charset=klingon", "ä".as_bytes()), "ä");
        assert_eq!(text("text/html; charset=", b"\xe4"), "ä");
        assert_eq!(text("text/html; charset=utf-8", b"a\xffb"), "a\u{fffd}b");
        assert_eq!(
            text("text/plain; charset=utf-7", b"+ADw-script+AD4-"),
            "+ADw-script+AD4-"
        );
        assert_eq!(
            text("text/plain; charset=iso-2022-kr", b"x"),
            "\u{fffd}",
            "the replacement encoding"
        );
        assert_eq!(text("text/plain; charset=\u{0}\u{1}", b"x"), "x");
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let mut reply = reply("text/html", b"\x1f\x8b");
        reply
            .headers
            .push(("content-encoding".into(), "gzip".into()));
        assert!(read(&reply).unwrap_err().contains("`gzip`"));
        reply.headers[1].1 = "identity".into();
        assert!(read(&reply).is_ok());
    }

    mod property {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn no_body_panics(content_type in ".{0,60}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
                let _ = read(&reply(&content_type, &body));
            }

            #[test]
            fn utf8_is_kept(text in "\\PC{0,80}") {
                prop_assert_eq!(super::text("text/plain; charset=utf-8", text.as_bytes()), text);
            }
        }
    }
}
