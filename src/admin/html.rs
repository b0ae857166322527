//! The pages' text. No script, no style but the one sheet, and one rule for everything that is not
//! written here: it goes through [`text`], which leaves nothing that a browser or an eye could take
//! for something else.

use std::fmt::Write as _;

use crate::control::ApprovalReport;
use crate::journal::escape;

/// The style sheet: by address, so that the policy of the pages needs no exception.
pub(super) const STYLE: &str = include_str!("style.css");

/// What a page shows beside its matter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    /// Who is logged in.
    pub(super) person: &'a str,
    /// The word of the session's forms.
    pub(super) form: &'a str,
    /// Where the credential was given just now: what stands for it in the next form.
    pub(super) ticket: Option<&'a str>,
    /// What went wrong.
    pub(super) fault: Option<&'a str>,
}

/// Text from anywhere: what acts on a terminal or turns writing around is written out, and what HTML
/// gives a meaning has none.
fn text(from: &str) -> String {
    html(&escape(from))
}

fn html(from: &str) -> String {
    let mut out = String::with_capacity(from.len() + from.len() / 8);
    for c in from.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// JSON with a line for each member: only spaces and line ends are added, and only between tokens, so
/// that every letter of the canonical text stands there as it is.
fn spread(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 4);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut letters = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        // Beyond what can be read anyway, depth costs no room.
        out.extend(std::iter::repeat_n("  ", depth.min(24)));
    };
    while let Some(c) = letters.next() {
        if quoted {
            out.push(c);
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '"' {
                quoted = false;
            }
            continue;
        }
        match c {
            '"' => {
                quoted = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                if let Some(close) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => out.push(c),
        }
    }
    out
}

/// Each line made safe by itself, so that only our own line ends are ones. What a line is too long for
/// goes on further in than it began, so that it can't be taken for the next one.
fn lines(from: &str) -> String {
    let mut out = String::with_capacity(from.len() + from.len() / 4);
    for line in from.split('\n') {
        let _ = write!(out, "<span>{}</span>", text(line));
    }
    out
}

fn document(title: &str, look: Option<Look<'_>>, main: &str) -> String {
    let who = look.map_or_else(String::new, |look| {
        format!(
            "<form method=\"post\" action=\"/logout\"><span>{}</span>{}<button class=\"plain\">Log out</button></form>",
            text(look.person),
            hidden("form", look.form)
        )
    });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} \u{b7} Tollgate</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n\
         <header><a class=\"name\" href=\"/approvals\">Tollgate</a>{who}</header>\n<main>\n{main}</main>\n</body>\n</html>\n",
        text(title)
    )
}

fn hidden(name: &str, value: &str) -> String {
    format!(
        "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
        text(value)
    )
}

fn banner(fault: Option<&str>) -> String {
    fault.map_or_else(String::new, |fault| {
        format!("<p class=\"banner\" role=\"alert\">{}</p>\n", text(fault))
    })
}

const CREDENTIAL: &str = "<label>Your credential<input type=\"password\" name=\"credential\" required autocomplete=\"current-password\" spellcheck=\"false\"></label>";

/// The form that asks for the credential; `place` is where it goes.
pub(super) fn login(place: &str, fault: Option<&str>) -> String {
    let main = format!(
        "<section class=\"card narrow\">\n<h1>Log in to answer approvals</h1>\n{}\
         <form method=\"post\" action=\"{}\">\n{CREDENTIAL}\n<p><button>Log in</button></p>\n</form>\n\
         <p class=\"quiet\">It starts with <code>tgp_</code>; <code>tollgate person add</code> made it. \
         Look at the address of this page before you give it.</p>\n</section>\n",
        banner(fault),
        text(place)
    );
    document("Log in", None, &main)
}

/// What waits for an answer.
pub(super) fn list(all: &[ApprovalReport], look: Look<'_>) -> String {
    let mut main = String::from("<section class=\"card\">\n<h1>Waiting for an answer</h1>\n");
    main.push_str(&banner(look.fault));
    if all.is_empty() {
        main.push_str("<p>Nothing waits.</p>\n");
    } else {
        main.push_str("<ul class=\"list\">\n");
        for report in all {
            let _ = writeln!(
                main,
                "<li><a class=\"code\" href=\"/approvals/{}\">{}</a><p class=\"quiet\">{}{} \u{b7} asked {} \u{b7} until {}</p></li>",
                text(&report.id),
                text(&report.effect),
                text(&report.agent),
                report.times(),
                moment(&report.created),
                moment(&report.expires)
            );
        }
        main.push_str("</ul>\n");
    }
    main.push_str("</section>\n");
    document("Approvals", Some(look), &main)
}

/// A time as people read it; the whole of it for machines.
fn moment(time: &str) -> String {
    let short = time
        .split_once('.')
        .map_or(time, |(seconds, _)| seconds)
        .replace('T', " ");
    format!(
        "<time datetime=\"{}\">{} UTC</time>",
        text(time),
        text(&short)
    )
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "<dt>{name}</dt><dd>{value}</dd>");
}

fn code(value: &str) -> String {
    format!("<code>{}</code>", text(value))
}

/// One approval: what would happen, in full, and the answers.
pub(super) fn approval(report: &ApprovalReport, look: Look<'_>) -> String {
    let pending = report.status == "pending";
    let mut main = String::from("<section class=\"card\">\n");
    main.push_str(&banner(look.fault));
    let question = if pending {
        "May this happen?"
    } else {
        "This was asked"
    };
    let _ = writeln!(
        main,
        "<h1>{question} <span class=\"status {}\">{}</span></h1>\n<p class=\"effect\">{}</p>",
        text(&report.status),
        text(&report.status),
        text(&report.effect)
    );
    main.push_str(&facts(report));
    let _ = writeln!(
        main,
        "<h2>Arguments of {}</h2>\n<pre>{}</pre>\n<p class=\"quiet\">{} bytes, {}; only line breaks and indents were added. Letters that would show otherwise than they read stand as <code>\\u\u{2026}</code>. Digest {}</p>",
        code(&report.tool),
        lines(&spread(&report.arguments)),
        report.arguments_bytes,
        shown(report.arguments_whole),
        code(&report.arguments_digest)
    );
    if let Some(input) = &report.input {
        let state = input.state.as_deref().map_or_else(String::new, |state| {
            format!(". The plugin gets a state of its own back: {}", code(state))
        });
        let _ = writeln!(
            main,
            "<h2>Answers of round {}</h2>\n<pre>{}</pre>\n<p class=\"quiet\">What the agent's client answered the plugin, which goes on with it: {} bytes, {}. Digest {}{state}</p>",
            input.round,
            lines(&spread(&input.answers)),
            input.bytes,
            shown(input.whole),
            code(&input.digest)
        );
    }
    if let Some(body) = &report.body {
        let _ = writeln!(
            main,
            "<h2>Body of the request</h2>\n<pre>{}</pre>\n<p class=\"quiet\">{} bytes, {}. Digest {}</p>",
            text(&body.text),
            body.bytes,
            shown(body.whole),
            code(&body.digest)
        );
    }
    main.push_str("</section>\n");
    if pending {
        main.push_str(&answers(report, look));
    }
    document(&report.effect, Some(look), &main)
}

/// How much of what is asked about stands on the page.
const fn shown(whole: bool) -> &'static str {
    if whole {
        "all of them"
    } else {
        "not all of them shown"
    }
}

fn facts(report: &ApprovalReport) -> String {
    let mut out = String::from("<dl>\n");
    row(&mut out, "Asked by", &code(&report.agent));
    if let Some(user) = &report.user {
        row(&mut out, "On behalf of", &code(user));
    }
    if !report.chain.is_empty() {
        let chain: Vec<_> = report.chain.iter().map(|agent| code(agent)).collect();
        row(&mut out, "Handed on by", &chain.join(", then "));
    }
    if let Some(task) = &report.task {
        row(&mut out, "Task", &code(task));
    }
    let why = match report.policies.as_slice() {
        [] => format!("the tool's tier, {}", code(&report.tier)),
        policies => {
            let named: Vec<_> = policies
                .iter()
                .map(|policy| {
                    format!(
                        "{} ({}:{})",
                        code(&policy.id),
                        text(&policy.file),
                        policy.line
                    )
                })
                .collect();
            format!("{}; tier {}", named.join(", "), code(&report.tier))
        }
    };
    row(&mut out, "Held by", &why);
    row(&mut out, "Plugin", &code(&report.plugin));
    row(
        &mut out,
        "Asked",
        &format!("{}{}", moment(&report.created), report.times()),
    );
    if report.status == "pending" || report.status == "approved" {
        row(&mut out, "Good until", &moment(&report.expires));
    }
    let agreed = report.answers.iter().filter(|a| a.approve).count();
    if report.needed > 1 {
        row(
            &mut out,
            "Agreed",
            &format!("{agreed} of {} persons", report.needed),
        );
    }
    for answer in &report.answers {
        let word = if answer.approve { "agreed" } else { "said no" };
        let why = answer
            .why
            .as_ref()
            .map(|why| format!(": {}", text(why)))
            .unwrap_or_default();
        row(
            &mut out,
            "Answer",
            &format!(
                "{} {word} at {}{why}",
                code(&answer.person),
                moment(&answer.at)
            ),
        );
    }
    if let Some(seconds) = report.standing {
        let told = format!(
            "for identical calls, {seconds} s; used {} times",
            report.uses
        );
        row(&mut out, "Stands", &told);
    }
    row(&mut out, "Call", &code(&report.call));
    out.push_str("</dl>\n");
    out
}

/// A no first: what is clicked without reading is not a yes.
fn answers(report: &ApprovalReport, look: Look<'_>) -> String {
    let place = text(&report.id);
    let form = hidden("form", look.form);
    let proof = look
        .ticket
        .map_or_else(|| CREDENTIAL.to_owned(), |ticket| hidden("ticket", ticket));
    format!(
        "<section class=\"card answer\">\n\
         <form method=\"post\" action=\"/approvals/{place}\">{form}<label>Why not (the agent reads it)<input name=\"why\" maxlength=\"500\" autocomplete=\"off\"></label>\
         <button class=\"no\" name=\"answer\" value=\"deny\">Deny</button></form>\n\
         <form method=\"post\" action=\"/approvals/{place}\">{form}{proof}\
         <button class=\"yes\" name=\"answer\" value=\"approve\">Approve once</button></form>\n</section>\n"
    )
}

/// There is no such approval.
pub(super) fn unknown(look: Look<'_>) -> String {
    let main = "<section class=\"card\">\n<h1>There is no such approval</h1>\n<p>It may have been asked for long ago: the journal has it. <a href=\"/approvals\">What waits now</a></p>\n</section>\n";
    document("No such approval", Some(look), main)
}

/// A form that could not be taken.
pub(super) fn wrong(fault: &str) -> String {
    let main = format!(
        "<section class=\"card narrow\">\n<h1>That did not work</h1>\n{}<p><a href=\"/approvals\">Back</a></p>\n</section>\n",
        banner(Some(fault))
    );
    document("That did not work", None, &main)
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
