//! Credentials on the wire, and those that never get there.

use super::fixture::*;
use super::*;
use crate::reason::Reason;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const PUBLIC: &[&str] = &["93.184.216.34"];

#[tokio::test]
async fn credentials_go_into_their_place_only() {
    let bearer = CredentialScheme::Bearer;
    let basic = CredentialScheme::Basic("me".into());
    let header = CredentialScheme::Header("X-Api-Key".into());
    let query = CredentialScheme::Query("key".into());
    for (scheme, url, expected) in [
        (
            &bearer,
            "http://granted.example/",
            "\r\nauthorization: Bearer s3 cr&t\r\n",
        ),
        (
            &basic,
            "http://granted.example/",
            "\r\nauthorization: Basic bWU6czMgY3ImdA==\r\n",
        ),
        (
            &header,
            "http://granted.example/",
            "\r\nx-api-key: s3 cr&t\r\n",
        ),
        (
            &query,
            "http://granted.example/",
            "GET /?key=s3+cr%26t HTTP/1.1\r\n",
        ),
        (
            &query,
            "http://granted.example/?a=b",
            "GET /?a=b&key=s3+cr%26t HTTP/1.1\r\n",
        ),
    ] {
        let mut upstream = Upstream::plain(OK, After::Close).await;
        let bench = Bench::new(&[PUBLIC], upstream.address);
        let credential = Credential::new(scheme, b"s3 cr&t");
        assert!(!format!("{credential:?}").contains("s3"));
        let exchange = bench.send("GET", url, &[], "", &[credential]).await;
        assert!(!format!("{exchange:?}").contains("cr&t"));
        exchange.result.unwrap();
        let captured = upstream.captured().await;
        assert!(captured.contains(expected), "{captured}");
    }
}

#[tokio::test]
async fn credentials_that_do_not_fit_are_refused_before_anything_leaves() {
    let bearer = CredentialScheme::Bearer;
    let header = |name: &str| CredentialScheme::Header(name.into());
    let query = CredentialScheme::Query("key".into());
    let colon = CredentialScheme::Basic("a:b".into());
    let invalid = Reason::EgressRequestInvalid;
    let url = "http://granted.example/?k%65y=1";
    for (scheme, value, expected) in [
        (&bearer, &b"a\r\nhost: evil"[..], invalid),
        (&bearer, b"a\n", invalid),
        (&bearer, b"", invalid),
        (&query, b"a", invalid),
        (&colon, b"a", invalid),
        (&header("authorization"), b"a", invalid),
        (&header("a b"), b"a", invalid),
        (&header("host"), b"a", Reason::EgressForbiddenHeader),
    ] {
        let bench = Bench::new(&[PUBLIC], "127.0.0.1:9".parse().unwrap());
        let headers = if *scheme == header("authorization") {
            &[("Authorization", "mine")][..]
        } else {
            &[]
        };
        let exchange = bench
            .send("GET", url, headers, "", &[Credential::new(scheme, value)])
            .await;
        assert_eq!(reason(&exchange), expected, "{scheme:?}");
        assert_eq!((bench.lookups(), bench.dialled().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_header_that_the_plugin_built_is_set_anew_and_nothing_else() {
    let mut upstream = Upstream::plain(OK, After::Close).await;
    let bench = Bench::new(&[PUBLIC], upstream.address);
    let scheme = CredentialScheme::Instead("Authorization".into());
    let credential = Credential::new(&scheme, b"token s3cret");
    let headers = [("Authorization", "token ph-7f3a"), ("X-Other", "ph-7f3")];
    let url = "http://granted.example/?q=ph-7f3a";
    bench
        .send("POST", url, &headers, "ph-7f3a", &[credential])
        .await
        .result
        .unwrap();
    let captured = upstream.captured().await;
    assert!(captured.starts_with(
        "POST /?q=ph-7f3a HTTP/1.1\r\nauthorization: token s3cret\r\nx-other: ph-7f3\r\n"
    ));
    assert!(captured.ends_with("\r\n\r\nph-7f3a"));
    assert_eq!(captured.matches("s3cret").count(), 1);
}
