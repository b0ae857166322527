//! What a browser gets: the pages, their forms and the cookie.

use super::*;
use crate::harness::web::hidden;

#[tokio::test]
async fn only_this_servers_own_names_and_pages_are_answered() {
    let world = world().await;
    let id = world.held(&json!({"text": "x"})).await;
    for host in ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost"] {
        let page = send(world.address, "GET", "/approvals", &[("host", host)], "").await;
        assert_eq!(page.status, 403, "{host}");
    }
    let place = format!("/approvals/{id}");
    let mut browser = Browser::at(world.address);
    browser
        .post("/approvals", &[("credential", &world.ada)])
        .await;
    let form = hidden(&browser.get(&place).await, "form");
    let deny = [("form", form.as_str()), ("answer", "deny")];
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "https://127.0.0.1",
        "",
    ] {
        let page = browser.post_from(origin, &place, &deny).await;
        assert_eq!(page.status, 403, "{origin}");
    }
    let page = browser.get(&place).await;
    assert!(page.body.contains("status pending"));
    for header in ["content-security-policy", "x-frame-options"] {
        assert!(!page.header(header).is_empty(), "{header}");
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_person_answers_on_the_page() {
    let world = world().await;
    let id = world.held(&json!({"text": "one"})).await;
    let place = format!("/approvals/{id}");
    let mut browser = Browser::at(world.address);
    let page = browser.get(&place).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("type=\"password\""));
    assert!(
        !page.body.contains("probe.echo"),
        "nothing is shown before the credential"
    );
    // The credential goes into the form, and a cookie comes back that no script can read.
    let page = browser.post(&place, &[("credential", &world.ada)]).await;
    assert_eq!(page.status, 200);
    let cookie = page.header("set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&world.ada));
    assert!(page.body.contains("call probe.echo"));
    let (form, ticket) = (hidden(&page, "form"), hidden(&page, "ticket"));
    let words = [
        ("form", form.as_str()),
        ("ticket", ticket.as_str()),
        ("answer", "approve"),
    ];
    let wrong = browser
        .post(&place, &[("form", "x"), ("ticket", &ticket), words[2]])
        .await;
    assert_eq!(wrong.status, 403, "not from a page of this session");
    let done = browser.post(&place, &words).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, place.as_str())
    );
    let page = browser.get(&place).await;
    assert!(page.body.contains("status approved"), "{}", page.body);
    let reply = world.bench.call("probe_echo", json!({"text": "one"})).await;
    assert_eq!(reply.reason(), None);
    let logout = browser.post("/logout", &[("form", &form)]).await;
    assert_eq!(logout.status, 303);
    assert!(browser.get(&place).await.body.contains("type=\"password\""));
}

#[tokio::test]
async fn a_stolen_cookie_approves_nothing() {
    let world = world().await;
    let id = world.held(&json!({"text": "x"})).await;
    let other = world.held(&json!({"text": "y"})).await;
    let mut person = Browser::at(world.address);
    person
        .post(
            &format!("/approvals/{other}"),
            &[("credential", &world.ada)],
        )
        .await;
    // What an agent's page on another port of this machine would be sent.
    let mut thief = Browser::at(world.address);
    thief.cookie.clone_from(&person.cookie);
    let place = format!("/approvals/{id}");
    let page = thief.get(&place).await;
    let form = hidden(&page, "form");
    assert!(!page.body.contains("name=\"ticket\""));
    for proof in [
        &[][..],
        &[("ticket", "x")],
        &[("ticket", form.as_str())],
        &[("credential", world.agent.as_str())],
        // Another person's is that person's, and not this session's.
        &[("credential", world.bob.as_str())],
    ] {
        let mut words = vec![("form", form.as_str()), ("answer", "approve")];
        words.extend_from_slice(proof);
        assert_eq!(thief.post(&place, &words).await.status, 403, "{proof:?}");
    }
    // The person needs the credential, too, and has it.
    let words = [
        ("form", form.as_str()),
        ("answer", "approve"),
        ("credential", world.ada.as_str()),
    ];
    assert_eq!(person.post(&place, &words).await.status, 303);
}

#[tokio::test]
async fn a_session_ends_with_its_credential() {
    let world = world().await;
    let id = world.held(&json!({"text": "x"})).await;
    let place = format!("/approvals/{id}");
    let mut browser = Browser::at(world.address);
    let page = browser.post(&place, &[("credential", &world.ada)]).await;
    let (form, ticket) = (hidden(&page, "form"), hidden(&page, "ticket"));
    world
        .bench
        .host
        .people()
        .rotate(&"ada".parse().unwrap(), None)
        .unwrap();
    let words = [
        ("form", form.as_str()),
        ("ticket", ticket.as_str()),
        ("answer", "approve"),
    ];
    assert_eq!(browser.post(&place, &words).await.status, 401);
    assert_eq!(world.get("/v1/approvals", &world.ada).await.status, 401);
}

#[tokio::test]
async fn hostile_arguments_are_shown_escaped_and_whole() {
    let world = world().await;
    let evil = format!(
        "</pre></form><script>alert(1)</script><img src=x onerror=y>\u{1b}[2J\u{202e}evil\u{2066}\n\neffect call safe.tool{}THE TAIL",
        "A".repeat(100_000)
    );
    let id = world.held(&json!({"text": evil})).await;
    let mut browser = Browser::at(world.address);
    let page = browser
        .post(&format!("/approvals/{id}"), &[("credential", &world.ada)])
        .await;
    assert_eq!(page.status, 200);
    for bad in ["<script", "<img", "\u{1b}", "\u{202e}", "\u{2066}"] {
        assert!(!page.body.contains(bad), "{bad:?}");
    }
    for good in [
        "&lt;script&gt;",
        "\\u001b",
        "\\u202e",
        "\\n\\neffect call safe.tool",
        "THE TAIL",
    ] {
        assert!(page.body.contains(good), "{good}");
    }
    assert!(page.body.contains(&"A".repeat(100_000)));
    // The same over the API: whole, and nothing in it that turns or hides.
    let shown = world.shown(&id).await;
    let arguments = shown["arguments"].as_str().unwrap();
    let again: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(again["text"], evil);
    assert!(!arguments.contains('\u{202e}'));
    assert!(
        page.body
            .contains(shown["arguments_digest"].as_str().unwrap())
    );
}

#[tokio::test]
async fn behind_tls_the_cookie_insists_on_it() {
    let world = world_with("url = \"https://approve.example\"").await;
    let reply = world.bench.call("probe_echo", json!({"text": "x"})).await;
    let url = reply.at("/approvalUrl").as_str().unwrap().to_owned();
    assert!(url.starts_with("https://approve.example/approvals/approval_"));
    let body = format!("credential={}", world.ada);
    let headers = [
        ("host", "approve.example"),
        ("origin", "https://approve.example"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let page = send(world.address, "POST", "/approvals", &headers, body).await;
    let cookie = page.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-tollgate=") && cookie.contains("; Secure"),
        "{cookie}"
    );
}
