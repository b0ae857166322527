//! What a browser sends: a form, and the cookie that goes with it.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::header::{COOKIE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};

use super::door::{self, Fault};

/// The longest word of a form that is looked at; the body has its own bound.
const WORD: usize = 4_096;

/// The one cookie of this name; with two of them one is somebody else's, and neither counts.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value.to_owned()),
        _ => None,
    }
}

/// What a form says, each word once.
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a form that a page of this server sent.
    pub(super) async fn read(request: Request) -> Result<(HeaderMap, Self), Fault> {
        let (parts, body) = request.into_parts();
        // The gate has compared it; here it must be there at all.
        if !parts.headers.contains_key(ORIGIN) {
            return Err(Fault::new(
                StatusCode::FORBIDDEN,
                "request.origin",
                "forms are for browsers, which say where they come from; programs use the API",
            ));
        }
        door::media(&parts.headers, "application/x-www-form-urlencoded")?;
        let text = door::body(body).await?;
        let mut words = BTreeMap::new();
        for (key, value) in url::form_urlencoded::parse(&text) {
            if value.len() > WORD || words.insert(key.into_owned(), value.into_owned()).is_some() {
                return Err(Fault::new(
                    StatusCode::BAD_REQUEST,
                    "request.form",
                    "the form has a word twice, or one that is too long",
                ));
            }
        }
        Ok((parts.headers, Self(words)))
    }

    pub(super) fn word(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |word| word.trim())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for text in cookies {
            headers.append(COOKIE, HeaderValue::from_str(text).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_counts_only_where_it_is_the_only_one() {
        let found = |cookies: &[&str]| cookie(&headers(cookies), "tollgate");
        assert_eq!(found(&["a=b; tollgate=x"]).as_deref(), Some("x"));
        assert_eq!(found(&["tollgate=x", "other=y"]).as_deref(), Some("x"));
        for none in [
            &[][..],
            &["tollgatex=x"],
            &["tollgate=x; tollgate=y"],
            &["tollgate=x", "tollgate=y"],
            &["Tollgate=x"],
        ] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }
}
