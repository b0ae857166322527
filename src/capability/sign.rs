//! Signatures that the host puts into a request: AWS Signature Version 4.
//!
//! What is signed is the canonical request that policy decided on, in the moment before it is sent.
//! The key is lent like any other secret, and is gone with this function.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use serde::Deserialize;
use zeroize::Zeroize as _;

use crate::egress::Request;
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::http as wit;
use crate::secret::SecretValue;

/// A key, as `aws configure export-credentials` prints it, or as the engine of OpenBao and Vault does.
#[derive(Deserialize)]
struct Key {
    #[serde(alias = "AccessKeyId", alias = "access_key")]
    access_key_id: String,
    #[serde(alias = "SecretAccessKey", alias = "secret_key")]
    secret_access_key: String,
    #[serde(default, alias = "SessionToken", alias = "security_token")]
    session_token: Option<String>,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret_access_key.zeroize();
        self.session_token.zeroize();
    }
}

/// The headers that sign a request, and what of the key must not be found elsewhere.
pub(super) struct Signed {
    pub(super) headers: Vec<(String, SecretValue)>,
    pub(super) parts: Vec<SecretValue>,
}

/// Whether `scope` can be signed for.
///
/// # Errors
///
/// A region or a service has letters that none has: they end up in a header.
pub(super) fn check(scope: &wit::AwsScope) -> Result<(), Refusal> {
    let plain = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if plain(&scope.region) && plain(&scope.service) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::EgressRequestInvalid,
        "a region and a service have letters, digits and `-`, at most 64 each",
    ))
}

/// Signs `request` with the key in `value`, at `now`.
pub(super) fn aws(
    request: &Request,
    value: &SecretValue,
    scope: &wit::AwsScope,
    now: Duration,
) -> Result<Signed, Refusal> {
    // Neither error is passed on: it could show a part of the key.
    let key: Key = serde_json::from_slice(value.expose()).map_err(|_| unusable())?;
    let identity = Credentials::new(
        key.access_key_id.clone(),
        key.secret_access_key.clone(),
        key.session_token.clone(),
        None,
        "tollgate",
    )
    .into();
    let mut settings = SigningSettings::default();
    if scope.service == "s3" {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(&scope.service)
        .time(UNIX_EPOCH + now)
        .settings(settings)
        .build()
        .map_err(|_| unusable())?
        .into();
    let url = request.url().to_string();
    // What something on the way may change is not signed.
    let headers = request.headers().iter().filter_map(|(name, value)| {
        let signed = name == http::header::CONTENT_TYPE || name.as_str().starts_with("x-amz-");
        signed.then(|| Some((name.as_str(), value.to_str().ok()?)))?
    });
    let signable = SignableRequest::new(
        request.method().as_str(),
        url.as_str(),
        headers,
        SignableBody::Bytes(request.body()),
    )
    .map_err(|_| unusable())?;
    let (instructions, _) = sign(signable, &parameters)
        .map_err(|_| unusable())?
        .into_parts();
    let headers = instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), SecretValue::new(value.into())))
        .collect();
    let parts = [
        Some(key.secret_access_key.clone()),
        key.session_token.clone(),
    ];
    Ok(Signed {
        headers,
        parts: parts
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .map(|part| SecretValue::new(part.into_bytes()))
            .collect(),
    })
}

fn unusable() -> Refusal {
    Refusal::new(
        Reason::SecretUnavailable,
        "the secret is no key that requests can be signed with",
    )
    .with_detail("expected JSON with `AccessKeyId`, `SecretAccessKey` and, for a temporary key, `SessionToken`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HttpLimits;

    /// The key of AWS's own test suite.
    const KEY: &str = r#"{"Version":1,"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}"#;

    /// The request of `get-vanilla` of that suite.
    fn vanilla() -> Request {
        let url = "https://example.amazonaws.com/";
        Request::parse::<&str, &str>("GET", url, &[], "", &HttpLimits::default()).unwrap()
    }

    fn scope(service: &str) -> wit::AwsScope {
        wit::AwsScope {
            region: "us-east-1".into(),
            service: service.into(),
        }
    }

    fn signed(request: &Request, key: &str, service: &str) -> Result<Signed, Refusal> {
        let value = SecretValue::new(key.into());
        // 2015-08-30T12:36:00Z, that of the test suite.
        aws(
            request,
            &value,
            &scope(service),
            Duration::from_secs(1_440_938_160),
        )
    }

    fn header<'s>(signed: &'s Signed, name: &str) -> Option<&'s str> {
        let found = signed.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| std::str::from_utf8(value.expose()).unwrap())
    }

    #[test]
    fn the_signature_is_that_of_aws_test_suite() {
        let request = vanilla();
        let signed = signed(&request, KEY, "service").unwrap();
        assert_eq!(header(&signed, "x-amz-date"), Some("20150830T123600Z"));
        assert_eq!(
            header(&signed, "authorization"),
            Some(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
            )
        );
    }

    #[test]
    fn a_temporary_key_sends_its_token_and_s3_signs_the_body() {
        let request = Request::parse(
            "PUT",
            "https://bucket.s3.amazonaws.com/a",
            &[("content-type", "text/plain"), ("x-amz-meta-a", "b")],
            "body",
            &HttpLimits::default(),
        )
        .unwrap();
        let key = r#"{"access_key":"A","secret_key":"canary-key","security_token":"canary-token"}"#;
        let signed = signed(&request, key, "s3").unwrap();
        assert_eq!(
            header(&signed, "x-amz-security-token"),
            Some("canary-token")
        );
        let hash = header(&signed, "x-amz-content-sha256").unwrap();
        assert_eq!(hash, crate::digest::Digest::of(b"body").hex());
        let authorization = header(&signed, "authorization").unwrap();
        let fields = "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-a;x-amz-security-token";
        assert!(authorization.contains(fields), "{authorization}");
        assert_eq!(signed.parts.len(), 2);
    }

    #[test]
    fn what_is_no_key_is_said_without_showing_it() {
        let request = vanilla();
        for key in ["canary", r#"{"AccessKeyId":"canary"}"#, "{}"] {
            let refusal = signed(&request, key, "s3").err().unwrap();
            assert_eq!(refusal.reason, Reason::SecretUnavailable);
            assert!(!format!("{refusal:?}").contains("canary"));
        }
        for region in ["", "a/b", "a b"] {
            let scope = wit::AwsScope {
                region: region.into(),
                service: "s3".into(),
            };
            assert!(check(&scope).is_err());
        }
    }
}
