//! Getting a page, redirects included.
//!
//! The host never follows a redirect: each is a new request here, and the host decides it anew. What this module adds is
//! manners (a bound, no circles) and plain words for what went wrong.

use url::Url;

/// Redirects followed for one page. Browsers follow 20; honest sites need two or three.
pub(crate) const MOST_REDIRECTS: usize = 5;
/// Bytes of an address. Servers refuse longer ones, and a long one is a way to carry data out.
pub(crate) const ADDRESS_BYTES: usize = 4_096;

/// What a server answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Fault<E> {
    /// The address given makes no sense.
    Address(String),
    /// A server's doing. The text is for the model.
    Server(String),
    /// The host did not do it.
    Host(E),
}

/// The address as it is sent: absolute, https, without user info and fragment.
pub(crate) fn address(text: &str) -> Result<Url, String> {
    if text.len() > ADDRESS_BYTES {
        return Err(format!(
            "the address is {} bytes long; at most {ADDRESS_BYTES} are allowed",
            text.len()
        ));
    }
    let url = Url::parse(text.trim()).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => {
            "the address is not absolute; write it as `https://host/path`".to_owned()
        }
        other => format!("the address can't be read: {other}"),
    })?;
    sendable(url)
}

fn sendable(mut url: Url) -> Result<Url, String> {
    if url.scheme() != "https" {
        return Err(format!(
            "only `https` addresses can be read, not `{}`",
            excerpt(url.scheme(), 20)
        ));
    }
    if url.as_str().len() > ADDRESS_BYTES {
        return Err(format!("the address is longer than {ADDRESS_BYTES} bytes"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address holds a user name or password; leave it out".to_owned());
    }
    if url.port().is_some() {
        return Err("only the default port of `https` can be read".to_owned());
    }
    url.set_fragment(None);
    Ok(url)
}

/// Gets the page, following redirects. `send` is one request.
pub(crate) fn get<E>(
    start: Url,
    mut send: impl FnMut(&str) -> Result<Reply, E>,
) -> Result<(Url, Reply), Fault<E>> {
    let mut url = start;
    let mut seen = Vec::new();
    loop {
        let reply = send(url.as_str()).map_err(Fault::Host)?;
        let target = match reply.status {
            301 | 302 | 303 | 307 | 308 => {
                reply.header("location").filter(|target| !target.is_empty())
            }
            _ => None,
        };
        let Some(target) = target else {
            return match reply.status {
                200..=299 if !reply.body.is_empty() => Ok((url, reply)),
                200..=299 => Err(Fault::Server(format!(
                    "`{}` answered {} without content",
                    shown(&url),
                    reply.status
                ))),
                300..=399 => Err(Fault::Server(format!(
                    "`{}` answered {} without saying where to go",
                    shown(&url),
                    reply.status
                ))),
                status => Err(Fault::Server(format!(
                    "`{}` answered {status}{}",
                    shown(&url),
                    meaning(status)
                ))),
            };
        };
        let next = url
            .join(target)
            .map_err(|error| error.to_string())
            .and_then(sendable)
            .map_err(|why| {
                Fault::Server(format!(
                    "`{}` redirects to `{}`: {why}",
                    shown(&url),
                    excerpt(target, 200)
                ))
            })?;
        seen.push(url);
        if seen.contains(&next) {
            return Err(Fault::Server(format!(
                "`{}` redirects in a circle",
                shown(&next)
            )));
        }
        if seen.len() > MOST_REDIRECTS {
            return Err(Fault::Server(format!(
                "there were more than {MOST_REDIRECTS} redirects, the last to `{}`",
                shown(&next)
            )));
        }
        url = next;
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 => " (it asks for a login)",
        403 => " (forbidden)",
        404 => " (not found)",
        410 => " (gone)",
        429 => " (too many requests; try again later)",
        451 => " (withheld for legal reasons)",
        500..=599 => " (a fault of the server; it may work later)",
        _ => "",
    }
}

fn shown(url: &Url) -> String {
    excerpt(url.as_str(), 200)
}

/// A text short enough for a message, on one line, without what could end the quotes.
pub(crate) fn excerpt(text: &str, most: usize) -> String {
    let mut out: String = text
        .chars()
        .filter(|c| !c.is_control() && *c != '`')
        .take(most)
        .collect();
    if text.chars().count() > most {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(status: u16, to: &str) -> Reply {
        Reply {
            status,
            headers: vec![("Location".into(), to.into())],
            body: Vec::new(),
        }
    }

    fn page() -> Reply {
        Reply {
            status: 200,
            headers: Vec::new(),
            body: b"x".to_vec(),
        }
    }

    /// Runs against a server that answers by address; gives the outcome and what was asked.
    fn run(start: &str, server: impl Fn(&str) -> Reply) -> (Result<String, String>, Vec<String>) {
        let mut asked = Vec::new();
        let result = get(address(start).unwrap(), |url| {
            asked.push(url.to_owned());
            Ok::<_, String>(server(url))
        });
        let result = match result {
            Ok((url, _)) => Ok(url.to_string()),
            Err(Fault::Address(why) | Fault::Server(why) | Fault::Host(why)) => Err(why),
        };
        (result, asked)
    }

    #[test]
    fn addresses_are_made_canonical_or_refused() {
        assert_eq!(
            address(" https://Example.COM:443/a/../b#part ")
                .unwrap()
                .as_str(),
            "https://example.com/b"
        );
        assert_eq!(
            address("https://bücher.example/").unwrap().as_str(),
            "https://xn--bcher-kva.example/"
        );
        for (text, why) in [
            ("http://example.com/", "only `https`"),
            ("file:///etc/passwd", "only `https`"),
            ("javascript:alert(1)", "only `https`"),
            ("/path", "not absolute"),
            ("example.com", "not absolute"),
            ("https://", "can't be read"),
            ("https://user:secret@example.com/", "user name or password"),
            ("https://example.com:8443/", "default port"),
            ("https://exa mple.com/", "can't be read"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("secret"));
        }
        assert!(address(&format!("https://example.com/{}", "a".repeat(5_000))).is_err());
    }

    #[test]
    fn redirects_are_followed_and_resolved() {
        let (result, asked) = run("https://a.example/x/y", |url| match url {
            "https://a.example/x/y" => redirect(301, "../z?q=1#part"),
            "https://a.example/z?q=1" => redirect(308, "//b.example/"),
            _ => page(),
        });
        assert_eq!(result.unwrap(), "https://b.example/");
        assert_eq!(
            asked,
            [
                "https://a.example/x/y",
                "https://a.example/z?q=1",
                "https://b.example/"
            ]
        );
    }

    #[test]
    fn circles_and_chains_end() {
        let (result, asked) = run("https://a.example/", |_| redirect(302, "/"));
        assert_eq!(
            (result.unwrap_err().as_str(), asked.len()),
            ("`https://a.example/` redirects in a circle", 1)
        );
        let (result, asked) = run("https://a.example/1", |url| {
            redirect(302, &format!("{url}1"))
        });
        assert!(result.unwrap_err().contains("more than 5 redirects"));
        assert_eq!(asked.len(), 6);
        let (result, asked) = run("https://a.example/", |url| {
            redirect(302, if url.ends_with('/') { "/b" } else { "/" })
        });
        assert!(result.unwrap_err().contains("circle"));
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn redirects_never_leave_https() {
        for target in [
            "http://a.example/",
            "http://169.254.169.254/",
            "file:///etc/passwd",
            "data:text/html,x",
            "https://u:p@a.example/",
            "https://a.example:22/",
        ] {
            let (result, asked) = run("https://a.example/", |_| redirect(302, target));
            assert!(result.unwrap_err().contains("redirects to"), "{target}");
            assert_eq!(asked.len(), 1);
        }
        let (result, _) = run("https://a.example/", |_| redirect(302, "https://["));
        assert!(result.unwrap_err().contains("redirects to"));
    }

    #[test]
    fn failures_name_the_status() {
        for (status, text) in [
            (404, "answered 404 (not found)"),
            (500, "answered 500"),
            (429, "too many requests"),
            (204, "204 without content"),
            (302, "302 without saying where"),
            (304, "304 without saying where"),
            (418, "answered 418"),
        ] {
            let (result, _) = run("https://a.example/", |_| Reply {
                status,
                ..Reply::default()
            });
            let error = result.unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_the_host_says_is_passed_on() {
        let result = get(address("https://a.example/").unwrap(), |_| {
            Err::<Reply, _>("no")
        });
        assert!(matches!(result, Err(Fault::Host("no"))));
    }
}
