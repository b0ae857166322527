//! The S rows that a grant decides.

use super::*;
use crate::limits::HttpLimits;

fn requirement(origin: OriginScope, methods: &[&str], paths: &[&str]) -> HttpRequirement {
    HttpRequirement {
        name: "api".into(),
        origin,
        methods: methods.iter().map(|m| (*m).to_owned()).collect(),
        paths: paths.iter().map(|p| (*p).to_owned()).collect(),
        why: String::new(),
    }
}

fn literal(origin: &str, methods: &[&str], paths: &[&str]) -> Scope {
    let requirement = requirement(OriginScope::Literal(origin.into()), methods, paths);
    Scope::new(&requirement, |_| None).unwrap()
}

fn any() -> Scope {
    Scope::new(
        &requirement(OriginScope::AnyPublic, &["GET"], &["/"]),
        |_| None,
    )
    .unwrap()
}

fn admit(scope: &Scope, method: &str, url: &str) -> Option<Reason> {
    let none: &[(&str, &str)] = &[];
    Request::parse(method, url, none, "", &HttpLimits::default())
        .and_then(|request| scope.admit(request))
        .err()
        .map(|refusal| refusal.reason)
}

#[test]
fn a_grant_is_scheme_host_and_port() {
    let scope = literal("https://granted.example", &["GET"], &["/"]);
    for (url, expected) in [
        ("https://granted.example/x", None),
        ("https://GRANTED.Example:443/x", None),
        ("http://granted.example/", Some(Reason::EgressScheme)),
        ("https://granted.example:22/", Some(Reason::EgressPort)),
        ("https://granted.example:8443/", Some(Reason::EgressPort)),
        ("https://other.example/", Some(Reason::EgressHostNotGranted)),
        (
            "https://sub.granted.example/",
            Some(Reason::EgressHostNotGranted),
        ),
        (
            "https://granted.example.evil/",
            Some(Reason::EgressHostNotGranted),
        ),
        ("https://localhost/", Some(Reason::EgressHostNotGranted)),
        ("http://metadata/", Some(Reason::EgressHostNotGranted)),
        (
            "http://metadata.google.internal/",
            Some(Reason::EgressHostNotGranted),
        ),
        ("http://127.0.0.1/", Some(Reason::EgressIpClass)),
        ("https://93.184.216.34/", Some(Reason::EgressHostNotGranted)),
    ] {
        assert_eq!(admit(&scope, "GET", url), expected, "{url}");
    }
}

#[test]
fn an_address_that_the_grant_names_is_left_to_policy() {
    let scope = literal("http://127.0.0.1:8080", &["GET"], &["/"]);
    assert_eq!(admit(&scope, "GET", "http://127.0.0.1:8080/"), None);
    assert_eq!(
        admit(&scope, "GET", "http://127.0.0.1/"),
        Some(Reason::EgressPort)
    );
    assert_eq!(
        admit(&scope, "GET", "http://127.0.0.2:8080/"),
        Some(Reason::EgressIpClass)
    );
}

#[test]
fn any_public_is_https_on_its_port_and_no_local_name() {
    for (url, expected) in [
        ("https://example.com/", None),
        ("https://93.184.216.34/", None),
        ("https://[2606:4700::1111]/", None),
        ("http://example.com/", Some(Reason::EgressScheme)),
        ("https://example.com:8443/", Some(Reason::EgressPort)),
        ("https://10.0.0.1/", Some(Reason::EgressIpClass)),
        ("https://metadata/", Some(Reason::EgressHostNotGranted)),
        (
            "https://metadata.google.internal/",
            Some(Reason::EgressHostNotGranted),
        ),
        ("https://printer.local/", Some(Reason::EgressHostNotGranted)),
        ("https://a.localhost/", Some(Reason::EgressHostNotGranted)),
        ("https://notlocal/", Some(Reason::EgressHostNotGranted)),
        ("https://notlocal.example/", None),
        (
            "https://5e884898da28047151d0e56f8dc62927.evil.example/",
            Some(Reason::EgressNameEntropy),
        ),
    ] {
        assert_eq!(admit(&any(), "GET", url), expected, "{url}");
    }
}

#[test]
fn s32_a_name_that_the_grant_spells_out_is_not_measured() {
    let origin = "https://5e884898da28047151d0e56f8dc62927.lambda-url.example";
    assert_eq!(
        admit(
            &literal(origin, &["GET"], &["/"]),
            "GET",
            &format!("{origin}/")
        ),
        None
    );
}

#[test]
fn s34_methods() {
    let scope = literal("https://granted.example", &["GET"], &["/"]);
    assert_eq!(
        admit(&scope, "POST", "https://granted.example/"),
        Some(Reason::EgressMethod)
    );
    let limits = HttpLimits::default();
    let overridden = [("X-HTTP-Method-Override", "DELETE")];
    let refusal =
        Request::parse("GET", "https://granted.example/", &overridden, "", &limits).unwrap_err();
    assert_eq!(refusal.reason, Reason::EgressForbiddenHeader);
}

#[test]
fn s31_paths() {
    let scope = literal("https://granted.example", &["GET"], &["/pub/", "/repos"]);
    for (path, expected) in [
        ("/pub/", None),
        ("/pub/a/b?q=/../x", None),
        ("/pub/a%20b", None),
        ("/repos", None),
        ("/repos/a", None),
        ("/%72epos/a", None),
        ("/reposx", Some(Reason::EgressPath)),
        ("/pub", Some(Reason::EgressPath)),
        ("/", Some(Reason::EgressPath)),
        ("/pub/..%2f..%2fadmin", Some(Reason::EgressPath)),
        ("/pub/%2e%2e/admin", Some(Reason::EgressPath)),
        ("/pub/%2e%2e/pub/x", Some(Reason::EgressPath)),
        ("/pub//admin", Some(Reason::EgressPath)),
        ("/pub/a;b", Some(Reason::EgressPath)),
        ("/pub/a%3bb", Some(Reason::EgressPath)),
        ("/pub/a%2fb", Some(Reason::EgressPath)),
        ("/pub/%252e", Some(Reason::EgressPath)),
        ("/pub/%2541", Some(Reason::EgressPath)),
    ] {
        assert_eq!(
            admit(&scope, "GET", &format!("https://granted.example{path}")),
            expected,
            "{path}"
        );
    }
    let every = literal("https://granted.example", &["GET"], &["/"]);
    assert_eq!(
        admit(
            &every,
            "GET",
            "https://granted.example/group%2Fproject//x;y"
        ),
        None
    );
    assert_eq!(
        admit(&every, "GET", "https://granted.example/a/..%2f..%2fb"),
        Some(Reason::EgressPath)
    );
}

#[test]
fn origins_come_from_settings() {
    let requirement = requirement(OriginScope::Setting("api".into()), &["GET"], &["/"]);
    let scope = Scope::new(&requirement, |key| {
        (key == "api").then_some("https://ghe.example")
    })
    .unwrap();
    assert_eq!(scope.origin().unwrap().to_string(), "https://ghe.example");
    assert!(matches!(
        Scope::new(&requirement, |_| None),
        Err(ScopeError::SettingAbsent { .. })
    ));
}

#[test]
fn nothing_in_a_requirement_is_repaired() {
    for origin in [
        "https://granted.example/",
        "https://Granted.example",
        "https://granted.example:443",
        "granted",
        "https://x/y",
    ] {
        let requirement = requirement(OriginScope::Literal(origin.into()), &["GET"], &["/"]);
        assert!(
            matches!(
                Scope::new(&requirement, |_| None),
                Err(ScopeError::Origin { .. })
            ),
            "{origin}"
        );
    }
    for methods in [&["get"][..], &["CONNECT"], &[]] {
        let requirement = requirement(OriginScope::AnyPublic, methods, &["/"]);
        assert!(matches!(
            Scope::new(&requirement, |_| None),
            Err(ScopeError::Method { .. })
        ));
    }
    for paths in [
        &["pub"][..],
        &["/a/../b"],
        &["/a//b"],
        &["/a?b"],
        &["/%61"],
        &["/a%2Fb"],
        &["/a;b"],
        &["/a#b"],
        &[],
    ] {
        let requirement = requirement(OriginScope::AnyPublic, &["GET"], paths);
        assert!(
            matches!(
                Scope::new(&requirement, |_| None),
                Err(ScopeError::Path { .. })
            ),
            "{paths:?}"
        );
    }
}
