//! From a page of HTML to the Markdown of what it is about.
//!
//! The page is hostile: nested without end, full of text that people don't see and models do, linked to `javascript:`.
//! So it is cleaned first (what is hidden goes, links become absolute or go, depth is bounded, since what follows
//! recurses), then the main content is found as Firefox's reader view does, and where there is none the whole body is
//! taken.

use dom_query::{Document, NodeRef};
use dom_smoothie::{Config, Readability, TextMode};
use url::Url;

/// Bytes of HTML that are looked at. A document takes many times its text in memory, and a plugin has 64 MiB.
pub(crate) const HTML_BYTES: usize = 1 << 20;
/// Levels of nesting, as its tags tell, after which a page is not looked at further: a parser takes time with each
/// element for all that are open around it.
const OPEN_TAGS: usize = 1_000;
/// Tags after which a page is not looked at further: a document takes about 200 bytes for each element and text, and
/// three copies of it are made.
const TAGS: usize = 50_000;
/// Levels of nesting that are kept. Pages made by people stay under 60.
const DEPTH: usize = 120;
/// Elements among which main content is searched for; with more, the whole body is taken.
const ELEMENTS: usize = 20_000;
/// Characters under which what was found is taken to be a mistake.
const LEAST_CHARACTERS: usize = 200;

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Article {
    pub(crate) title: Option<String>,
    pub(crate) markdown: String,
    /// Whether the page was longer than is looked at.
    pub(crate) cut: bool,
}

/// Elements that hold nothing to read.
const SILENT: [&str; 19] = [
    "script", "style", "noscript", "template", "iframe", "frame", "object", "embed", "applet",
    "svg", "math", "canvas", "audio", "video", "input", "button", "select", "textarea", "dialog",
];
/// Elements around the content, left out where the whole body is taken.
const AROUND: [&str; 4] = ["nav", "header", "footer", "aside"];

/// Turns a page into Markdown.
pub(crate) fn read(html: &str, url: &Url) -> Article {
    let (html, too_long) = head(html, HTML_BYTES);
    let (html, too_deep) = shallow(html);
    let document = Document::from(html);
    let base = document
        .base_uri()
        .and_then(|base| url.join(&base).ok())
        .unwrap_or_else(|| url.clone());
    let title = title(&document);
    let elements = clean(&document, &base);
    let found = if elements <= ELEMENTS {
        main_content(&document)
    } else {
        None
    };
    let markdown = found.unwrap_or_else(|| whole(&document));
    Article {
        title,
        markdown: tidy(&markdown),
        cut: too_long || too_deep,
    }
}

/// The start of a text, in whole characters.
fn head(text: &str, most: usize) -> (&str, bool) {
    if text.len() <= most {
        return (text, false);
    }
    let end = (0..=most)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    (text.get(..end).unwrap_or(""), true)
}

/// The page up to where more tags are open, or there are more of them, than in any page made by people. Only an estimate: tags that need no end are
/// not counted, and what is in scripts is passed over.
fn shallow(html: &str) -> (&str, bool) {
    const NOT_COUNTED: [&str; 33] = [
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param",
        "source", "track", "wbr", "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody",
        "tfoot", "colgroup", "caption", "option", "optgroup", "rt", "rp", "html", "head", "body",
    ];
    let (mut depth, mut at, mut tags) = (0_usize, 0_usize, 0_usize);
    while let Some(rest) = html.get(at..)
        && let Some((before, after)) = rest.split_once('<')
    {
        let tag = at + before.len();
        at = tag + 1;
        let closing = after.starts_with('/');
        let name: String = after
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(12)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        tags += 1;
        if tags > TAGS {
            return (html.get(..tag).unwrap_or(""), true);
        }
        if name.is_empty() || NOT_COUNTED.contains(&name.as_str()) {
            continue;
        }
        if closing {
            depth = depth.saturating_sub(1);
            continue;
        }
        if matches!(name.as_str(), "script" | "style") {
            at += after.find("</").unwrap_or(after.len());
            continue;
        }
        depth += 1;
        if depth > OPEN_TAGS {
            return (html.get(..tag).unwrap_or(""), true);
        }
    }
    (html, false)
}

fn title(document: &Document) -> Option<String> {
    let og = document
        .select_single("meta[property=\"og:title\"]")
        .attr("content")
        .map(|title| title.to_string());
    let named = || Some(document.select_single("title").text().to_string());
    let heading = || Some(document.select_single("h1").text().to_string());
    [named(), og, heading()]
        .into_iter()
        .flatten()
        .map(|title| one_line(&title))
        .find(|title| !title.is_empty())
}

/// On one line, at most 200 characters.
fn one_line(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !invisible(*c)).collect();
    visible
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(200)
        .collect()
}

/// Removes what is not for reading, and makes links absolute. Gives the number of elements that stay.
fn clean(document: &Document, base: &Url) -> usize {
    let root = document.root();
    let (mut depth, mut elements) = (0_usize, 0_usize);
    let mut next = root.first_child();
    while let Some(node) = next {
        let drop = depth > DEPTH || node.is_comment() || (node.is_element() && silent(&node));
        if !drop && node.is_element() {
            elements += 1;
            links(&node, base);
            if let Some(child) = node.first_child() {
                depth += 1;
                next = Some(child);
                continue;
            }
        }
        // On to what follows it, or what follows one of those around it.
        let mut at = node;
        let following = loop {
            if let Some(sibling) = at.next_sibling() {
                break Some(sibling);
            }
            match at.parent() {
                Some(parent) if parent.id != root.id => {
                    depth = depth.saturating_sub(1);
                    at = parent;
                }
                _ => break None,
            }
        };
        if drop {
            node.remove_from_parent();
        }
        next = following;
    }
    elements
}

/// Whether an element is hidden from people, or of a kind that holds nothing to read.
fn silent(node: &NodeRef<'_>) -> bool {
    let Some(name) = node.node_name() else {
        return false;
    };
    if SILENT.contains(&&*name) || node.has_attr("hidden") {
        return true;
    }
    if matches!(&*name, "html" | "body") {
        return false;
    }
    if node
        .attr("aria-hidden")
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    {
        return true;
    }
    node.attr("style").is_some_and(|style| {
        let style: String = style
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect::<String>()
            .to_ascii_lowercase();
        [
            "display:none",
            "visibility:hidden",
            "opacity:0;",
            "font-size:0;",
            "font-size:0px",
        ]
        .iter()
        .any(|rule| format!("{style};").contains(rule))
    })
}

/// Links and images: absolute, and of the web; others lose their target.
fn links(node: &NodeRef<'_>, base: &Url) {
    for attribute in ["href", "src"] {
        let Some(target) = node.attr(attribute) else {
            continue;
        };
        match base.join(target.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https" | "mailto") => {
                node.set_attr(attribute, url.as_str())
            }
            _ => node.remove_attr(attribute),
        }
    }
    // Other ways to name an image, that the way to Markdown would look at.
    node.remove_attrs(&[
        "srcset",
        "data-src",
        "data-srcset",
        "data-lazy-src",
        "data-original",
    ]);
}

/// What the page is about, where that can be told.
fn main_content(document: &Document) -> Option<String> {
    let config = Config {
        text_mode: TextMode::Markdown,
        disable_json_ld: true,
        ..Config::default()
    };
    let mut reader = Readability::with_document(document.clone(), None, Some(config)).ok()?;
    if !reader.is_probably_readable() {
        return None;
    }
    let markdown = reader.parse().ok()?.text_content.to_string();
    (markdown.chars().count() >= LEAST_CHARACTERS).then_some(markdown)
}

/// All there is, without what stands around it.
fn whole(document: &Document) -> String {
    let narrowed = ["main", "[role=main]", "article"]
        .iter()
        .find_map(|selector| {
            let found = document.select(selector);
            // Several articles are a list of them, and none is the page.
            (found.length() == 1).then(|| {
                found
                    .nodes()
                    .first()
                    .map(|node| node.md(Some(&AROUND)).to_string())
            })?
        });
    narrowed
        .filter(|markdown| markdown.chars().count() >= LEAST_CHARACTERS)
        .or_else(|| {
            document
                .body()
                .map(|body| body.md(Some(&AROUND)).to_string())
                .filter(|text| !text.trim().is_empty())
        })
        // All of it may stand in a header.
        .or_else(|| document.body().map(|body| body.md(None).to_string()))
        .unwrap_or_default()
}

/// Characters that nobody sees and that can carry text past a reader: tags, bidirectional controls, zero-width ones.
/// Joiners stay, for scripts and emoji that need them.
pub(crate) fn invisible(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Without invisible characters, spaces at the ends of lines, and more than one empty line.
pub(crate) fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0_usize;
    for line in text.lines() {
        let line: String = line.chars().filter(|c| !invisible(*c)).collect();
        // Two spaces at the end break a line in Markdown.
        let kept = if line.ends_with("  ") && !line.trim().is_empty() {
            format!("{}  ", line.trim_end())
        } else {
            line.trim_end().to_owned()
        };
        if kept.is_empty() {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty == 0 { "\n" } else { "\n\n" });
        }
        empty = 0;
        out.push_str(&kept);
    }
    out
}

#[cfg(test)]
#[path = "article_tests.rs"]
mod tests;
