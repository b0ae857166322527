//! Speaking to GitHub's API: requests, and what its refusals mean.
//!
//! What answers is whatever stands at the operator's origin: its text is data, and its JSON may be anything.

use serde::de::DeserializeOwned;

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Whether the API says that there is another page.
    fn more(&self) -> bool {
        self.header("link")
            .is_some_and(|link| link.split(',').any(|part| part.contains("rel=\"next\"")))
    }
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault<E> {
    /// The arguments make no sense.
    Arguments(String),
    /// The API's doing.
    Api(String),
    /// The host did not do it.
    Host(E),
}

/// One request: method, URL, body.
pub(crate) type Send<'a, E> = dyn FnMut(&str, &str, Option<Vec<u8>>) -> Result<Answer, E> + 'a;

/// The API at an origin.
pub(crate) struct Api<'a, E> {
    origin: String,
    /// Whether the token goes along: it changes what a refusal means.
    pub(crate) with_token: bool,
    send: &'a mut Send<'a, E>,
}

impl<'a, E> Api<'a, E> {
    pub(crate) fn new(origin: &str, with_token: bool, send: &'a mut Send<'a, E>) -> Self {
        Self {
            origin: origin.trim_end_matches('/').to_owned(),
            with_token,
            send,
        }
    }

    /// Reads; gives the value, and whether there is another page.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<(T, bool), Fault<E>> {
        let answer = self.request("GET", path, None)?;
        Ok((json(&answer)?, answer.more()))
    }

    /// Creates.
    pub(crate) fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, Fault<E>> {
        let answer = self.request("POST", path, Some(body.to_string().into_bytes()))?;
        json(&answer)
    }

    fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Fault<E>> {
        let url = format!("{}{path}", self.origin);
        let answer = (self.send)(method, &url, body).map_err(Fault::Host)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(Fault::Api(self.refusal(&answer)))
    }

    /// What a status other than success means, in words for the model.
    fn refusal(&self, answer: &Answer) -> String {
        let said = said(&answer.body);
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        let status = answer.status;
        let token = if self.with_token {
            ""
        } else {
            "; no token is in use, so only public data can be read"
        };
        let exhausted = answer.header("x-ratelimit-remaining") == Some("0");
        if status == 429 || (status == 403 && (exhausted || answer.header("retry-after").is_some()))
        {
            let when = match (
                seconds(answer, "retry-after"),
                seconds(answer, "x-ratelimit-reset"),
            ) {
                (Some(wait), _) => format!("try again in {wait} seconds"),
                (None, Some(reset)) => format!("try again after {}", time(reset)),
                (None, None) => "try again later".to_owned(),
            };
            let token = if self.with_token {
                ""
            } else {
                "; with a token the limit is higher"
            };
            return format!("GitHub's rate limit is reached ({status}); {when}{token}");
        }
        match status {
            301 | 302 | 307 | 308 => format!(
                "GitHub says that it has moved ({status}); the repository may have a new name"
            ),
            401 => format!(
                "GitHub does not accept the token ({status}){said}; the operator must set a valid one"
            ),
            403 => format!("GitHub refuses this ({status}){said}{token}"),
            404 => {
                format!("GitHub has no such thing, or the token may not see it ({status}){token}")
            }
            410 => format!("GitHub says that it is gone ({status}){said}"),
            422 => format!("GitHub can't do this with these values ({status}){said}"),
            500..=599 => format!("GitHub has a fault ({status}){said}; it may work later"),
            _ => format!("GitHub answered {status}{said}"),
        }
    }
}

fn json<T: DeserializeOwned, E>(answer: &Answer) -> Result<T, Fault<E>> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        Fault::Api(format!(
            "GitHub's answer is not the JSON that was expected: {error}"
        ))
    })
}

/// `message` of an error, and of the errors within it, on one line and short.
fn said(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::new();
    };
    let text = |value: &serde_json::Value| {
        value
            .get("message")
            .and_then(|message| message.as_str())
            .map(str::to_owned)
    };
    let within = value
        .get("errors")
        .and_then(|errors| errors.as_array())
        .into_iter()
        .flatten()
        .filter_map(text);
    let all: Vec<String> = text(&value).into_iter().chain(within.take(3)).collect();
    all.join("; ")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

fn seconds(answer: &Answer, header: &str) -> Option<u64> {
    answer.header(header)?.parse().ok()
}

/// Seconds since 1970 as RFC 3339, in UTC. The plugin has no clock, so it can't say how long that is from now.
fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, in eras of 400 years that start in March (Hinnant).
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(with_token: bool, answer: &Answer) -> Result<(serde_json::Value, bool), String> {
        let mut send = |_: &str, _: &str, _: Option<Vec<u8>>| Ok::<_, String>(answer.clone());
        Api::new("https://api.example/", with_token, &mut send)
            .get("/x")
            .map_err(|fault| match fault {
                Fault::Arguments(why) | Fault::Api(why) | Fault::Host(why) => why,
            })
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: body.into(),
        }
    }

    #[test]
    fn rate_limits_say_when() {
        let error = |headers: &[(&str, &str)], status| {
            get(true, &answer(status, headers, "{}")).unwrap_err()
        };
        assert_eq!(
            error(&[("Retry-After", "60")], 403),
            "GitHub's rate limit is reached (403); try again in 60 seconds"
        );
        assert_eq!(
            error(
                &[
                    ("X-RateLimit-Remaining", "0"),
                    ("X-RateLimit-Reset", "1795352400")
                ],
                403
            ),
            "GitHub's rate limit is reached (403); try again after 2026-11-22T13:00:00Z"
        );
        assert_eq!(
            error(&[], 429),
            "GitHub's rate limit is reached (429); try again later"
        );
        assert_eq!(
            error(&[("retry-after", "soon")], 429),
            "GitHub's rate limit is reached (429); try again later"
        );
        assert!(
            get(false, &answer(429, &[], ""))
                .unwrap_err()
                .ends_with("with a token the limit is higher")
        );
        assert!(
            error(
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "18446744073709551615")
                ],
                403
            )
            .contains("try again after")
        );
        assert_eq!(
            error(&[("x-ratelimit-remaining", "59")], 403),
            "GitHub refuses this (403)"
        );
    }

    #[test]
    fn refusals_pass_on_what_github_says_and_no_more() {
        let error = |status, body: &str| get(true, &answer(status, &[], body)).unwrap_err();
        assert_eq!(
            error(
                422,
                r#"{"message": "Validation Failed", "errors": [{"message": "bad\nquery"}, {"code": 1}, "x"]}"#
            ),
            "GitHub can't do this with these values (422): Validation Failed; bad query"
        );
        assert_eq!(
            error(401, r#"{"message":"Bad credentials"}"#),
            "GitHub does not accept the token (401): Bad credentials; the operator must set a valid one"
        );
        assert!(error(404, "<html>").contains("no such thing"));
        assert!(
            get(false, &answer(404, &[], ""))
                .unwrap_err()
                .contains("no token is in use")
        );
        assert!(error(301, "").contains("moved"));
        assert!(error(502, "[]").contains("may work later"));
        assert!(error(500, &format!("{{\"message\":\"{}\"}}", "x".repeat(100_000))).len() < 400);
        assert!(error(418, r#"{"message": 5}"#).starts_with("GitHub answered 418"));
    }

    #[test]
    fn malformed_json_is_an_error() {
        for body in ["", "{", "null null", "\u{0}", &"[".repeat(100_000)] {
            assert!(
                get(true, &answer(200, &[], body))
                    .unwrap_err()
                    .contains("not the JSON"),
                "{:?}",
                body.get(..10)
            );
        }
    }

    #[test]
    fn another_page_is_told_by_the_link_header() {
        let link = "<https://api.example/x?page=2>; rel=\"next\", <https://api.example/x?page=9>; rel=\"last\"";
        assert!(get(true, &answer(200, &[("Link", link)], "1")).unwrap().1);
        assert!(
            !get(true, &answer(200, &[("Link", "<x>; rel=\"prev\"")], "1"))
                .unwrap()
                .1
        );
        assert!(!get(true, &answer(200, &[], "1")).unwrap().1);
    }

    #[test]
    fn times_are_calendar_times() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(time(4_107_542_399), "2100-02-28T23:59:59Z");
    }

    #[test]
    fn requests_go_to_the_origin() {
        let mut seen = Vec::new();
        let mut send = |method: &str, url: &str, body: Option<Vec<u8>>| {
            seen.push((method.to_owned(), url.to_owned(), body));
            Ok::<_, String>(Answer {
                status: 201,
                headers: Vec::new(),
                body: b"{}".to_vec(),
            })
        };
        let mut api = Api::new("https://ghe.example", true, &mut send);
        let _: serde_json::Value = api
            .post(
                "/repos/a/b/issues/1/comments",
                &serde_json::json!({"body": "x"}),
            )
            .unwrap();
        assert_eq!(
            seen,
            [(
                "POST".into(),
                "https://ghe.example/repos/a/b/issues/1/comments".into(),
                Some(b"{\"body\":\"x\"}".to_vec())
            )]
        );
    }
}
