//! The S rows that a URL alone decides, and what holds for every text.

use super::*;
use proptest::prelude::*;

fn reason(text: &str) -> Option<Reason> {
    admit_url(text).err().map(|refusal| refusal.reason)
}

#[track_caller]
fn all(expected: Reason, texts: &[&str]) {
    for text in texts {
        assert_eq!(reason(text), Some(expected), "{text:?}");
    }
}

#[test]
fn s01_s02_s06_s07_addresses_that_are_not_public() {
    all(
        Reason::EgressIpClass,
        &[
            "http://127.0.0.1/",
            "http://10.0.0.1/",
            "http://172.16.0.1/",
            "http://192.168.0.1/",
            "http://0.0.0.0/",
            "http://100.64.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://169.254.170.2/",
            "http://100.100.100.200/",
            "http://192.0.0.192/",
            "http://[fd00:ec2::254]/",
            "https://[::1]/",
            "https://[::]/",
            "https://[fe80::1]/",
            "https://[FE80::1]/",
            "https://[fd12::1]/",
            "https://[fec0::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::127.0.0.1]/",
            "https://[::7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[64:ff9b:1::7f00:1]/",
            "https://[64:ff9b::127.0.0.1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001::1]/",
        ],
    );
}

#[test]
fn s03_s05_addresses_written_otherwise() {
    for host in [
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0",
        "0xA9FEA9FE",
        "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
        "169。254。169。254",
        "１２７.０.０.１",
        "[::0001]",
        "[0:0:0:0:0:0:0:1]",
    ] {
        all(Reason::UrlNoncanonical, &[&format!("http://{host}/")]);
    }
}

#[test]
fn s04_addresses_that_are_none() {
    for host in [
        "0x41414141A9FEA9FE",
        "425.510.425.510",
        "7147006462",
        "256.256.256.256",
        "1.2.3.4.5",
    ] {
        all(Reason::UrlInvalid, &[&format!("http://{host}/")]);
    }
}

#[test]
fn s08_zones() {
    all(
        Reason::UrlInvalid,
        &[
            "http://[fe80::1%25eth0]/",
            "http://[::1%lo]/",
            "http://[fe80::1%eth0]/",
        ],
    );
}

#[test]
fn s15_user_names() {
    all(
        Reason::UrlUserinfo,
        &[
            "http://granted@evil/",
            "http://granted:80@evil",
            "http://granted%2f@evil",
            "https://@x/",
            "https://a:b@c/",
        ],
    );
}

#[test]
fn s16_s17_white_space_and_backslashes() {
    all(
        Reason::UrlNoncanonical,
        &[
            "http:\\\\evil/",
            "http://evil\\@granted",
            "http://granted\\.evil/",
            " http://granted/",
            "http://gra\tnted/",
            "http:evil",
            "http:///evil",
            "http:/evil",
            "ht\ntp://granted/",
            "https://granted/a\r\nhost: evil",
            "https://granted/\u{0}",
            "https://granted/ ",
            "http://evil#@granted/",
            "http://1.1.1.1 &@2.2.2.2# @3.3.3.3/",
            "https://granted/#x",
        ],
    );
}

#[test]
fn s18_s21_dots_and_escapes_in_the_host() {
    all(
        Reason::UrlNoncanonical,
        &[
            "https://granted./",
            "https://granted../",
            "https://localhost./",
            "https://1.2.3.4./",
            "https://api%2eexample%2ecom/",
            "https://granted%00.evil/",
        ],
    );
}

#[test]
fn s19_case_is_folded() {
    let url = admit_url("HTTPS://GRANTED.Example/Path").unwrap();
    assert_eq!(url.to_string(), "https://granted.example/Path");
    assert_eq!(url.origin().host(), &Host::Name("granted.example".into()));
}

#[test]
fn s20_only_the_a_label() {
    all(
        Reason::UrlNoncanonical,
        &[
            "https://exаmple.com/",
            "https://ⓔⓧⓐⓜⓟⓛⓔ.ⓒⓞⓜ/",
            "https://exam\u{ad}ple.com/",
            "https://faß.de/",
        ],
    );
    all(
        Reason::UrlInvalid,
        &["https://xn--example-.org/", "https://example.org.xn--/"],
    );
    assert_eq!(reason("https://xn--mnchen-3ya.de/"), None);
}

#[test]
fn s22_schemes() {
    all(
        Reason::EgressScheme,
        &[
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            "ftp://x/",
            "data:text/plain,x",
            "dict://x/",
            "ldap://x/",
            "jar:http://x!/",
            "ws://x/",
            "wss://x/",
            "javascript:x",
        ],
    );
    all(
        Reason::UrlInvalid,
        &["", "granted.example", "//granted.example/", ":x", "é://x"],
    );
}

#[test]
fn s23_ports() {
    all(
        Reason::EgressPort,
        &[
            "https://granted:0/",
            "https://granted:080/",
            "https://granted:65536/",
            "https://granted:/",
            "https://granted:+80/",
            "https://granted:-1/",
            "https://granted:8a/",
        ],
    );
    assert_eq!(
        admit_url("https://granted:443/").unwrap().to_string(),
        "https://granted/"
    );
    assert_eq!(
        admit_url("https://granted:8443/").unwrap().origin().port(),
        8443
    );
    all(
        Reason::UrlInvalid,
        &[
            "https://a:1:2/",
            "https://::1/",
            "https://[2606:4700::1]x/",
            "https://[2606:4700::1/",
        ],
    );
}

#[test]
fn other_host_names_are_none() {
    all(
        Reason::UrlInvalid,
        &[
            "https://a..b/",
            "https://.a/",
            "https://a,b/",
            "https://a;b/",
            "https://a!b/",
            "https://:80/",
        ],
    );
    let long = format!("https://{}.example/", "a".repeat(64));
    all(Reason::UrlInvalid, &[&long]);
}

#[test]
fn s31_paths_that_lead_elsewhere() {
    for path in [
        "/pub/..%2f..%2fadmin",
        "/pub/%252e%252e/admin",
        "/pub/..%5cadmin",
        "/pub/..;/admin",
        "/pub/%2e%2e%2fadmin",
        "/pub/%25252e%25252e/a",
        "/a%00b",
        "/a%0d%0ahost:x",
        "/a%250d",
        "/a%",
        "/a%zz",
    ] {
        all(
            Reason::EgressPath,
            &[&format!("https://granted.example{path}")],
        );
    }
}

#[test]
fn s31_what_is_ambiguous_is_marked() {
    for (path, sent, doubt) in [
        ("/pub/%2e%2e/admin", "/admin", Some(Doubt::DotSegments)),
        ("/pub/../admin", "/admin", Some(Doubt::DotSegments)),
        ("/pub//admin", "/pub//admin", Some(Doubt::EmptySegment)),
        ("/pub;x=1/admin", "/pub;x=1/admin", Some(Doubt::Parameters)),
        ("/a%2fb", "/a%2Fb", Some(Doubt::EncodedSlash)),
        ("/a%5Cb", "/a%5Cb", Some(Doubt::EncodedBackslash)),
        ("/a%2541", "/a%2541", Some(Doubt::DoubleEncoding)),
        ("/%61dmin%7e", "/admin~", None),
        ("/a%2eb", "/a.b", None),
        ("/é", "/%C3%A9", None),
        ("", "/", None),
    ] {
        let url = CanonicalUrl::parse(&format!("https://granted.example{path}")).unwrap();
        assert_eq!((url.path(), url.doubt()), (sent, doubt), "{path}");
    }
}

#[test]
fn long_urls_are_refused() {
    all(
        Reason::LimitRequestBytes,
        &[&format!("https://x/{}", "a".repeat(MAX_URL))],
    );
}

/// Texts that look like URLs, so that most of them get past the first checks.
fn urlish() -> impl Strategy<Value = String> {
    "(https?|HTTP):(//|/)?[a-zA-Z0-9.:@%\\[\\]\u{ff11}\u{3002}_-]{0,20}(/[a-z.%0-9;/\\\\\u{e9}]{0,24})?([?][a-z%&=' \"]{0,10})?(#a)?"
}

proptest! {
    #[test]
    fn canonical_is_canonical(text in urlish()) {
        if let Ok(url) = CanonicalUrl::parse(&text) {
            let again = CanonicalUrl::parse(&url.to_string()).unwrap();
            prop_assert_eq!(again.to_string(), url.to_string());
            prop_assert_eq!(again.origin(), url.origin());
        }
    }

    #[test]
    fn what_is_accepted_is_what_was_written(text in urlish()) {
        if let Ok(url) = CanonicalUrl::parse(&text) {
            let lower = text.to_ascii_lowercase();
            let rest = lower.split_once("://").unwrap().1;
            let written = rest.split(['/', '?']).next().unwrap();
            let authority = url.origin().authority();
            let with_port = format!("{}:{}", url.origin().host(), url.origin().port());
            prop_assert!(written == authority || written == with_port, "{} {}", written, authority);
        }
    }

    #[test]
    fn both_parsers_read_the_same(text in urlish()) {
        if let Ok(url) = CanonicalUrl::parse(&text) {
            let uri: http::Uri = url.to_string().parse().unwrap();
            let host = url.origin().host().to_string();
            prop_assert_eq!(uri.host(), Some(host.as_str()));
            prop_assert_eq!(uri.path(), url.path());
            prop_assert_eq!(uri.query(), url.query());
        }
    }

    #[test]
    fn never_panics(text in ".{0,200}") {
        let _ = admit_url(&text);
    }
}
