//! The pages for browsers: looking at approvals, and answering them.
//!
//! Every form goes to the address of its own page. A form is taken only with an `Origin` of this
//! server's own, which browsers send and pages elsewhere can't forge; and, within a session, with the
//! word that stands in that session's pages only.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};

use super::door::Fault;
use super::form::{Form, cookie};
use super::html::{self, Look};
use super::session::{LIFETIME, Session};
use super::{Admin, api};
use crate::control::{ApprovalReport, Which, approve, deny};
use crate::host::Door;
use crate::id::ApprovalId;
use crate::identity::{Approver, PersonToken};

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/", get(|| async { see("/approvals") }))
        .route("/approvals", get(list).post(list_form))
        .route("/approvals/{id}", get(show).post(form))
        .route("/logout", post(logout))
        .route("/style.css", get(style))
}

/// A browser that is logged in.
struct Browser {
    cookie: String,
    session: Session,
    approver: Approver,
}

/// The session that the cookie names, if its credential is still in force.
fn browser(admin: &Admin, headers: &HeaderMap) -> Option<Browser> {
    let cookie = cookie(headers, cookie_name(admin))?;
    let session = admin.sessions.find(&cookie)?;
    let people = admin.host.people();
    match people.confirm(&session.person, &session.credential) {
        Ok(approver) => Some(Browser {
            cookie,
            session,
            approver,
        }),
        Err(_) => {
            admin.sessions.end(&cookie);
            None
        }
    }
}

/// With TLS the name itself keeps other hosts and plain HTTP from setting it.
const fn cookie_name(admin: &Admin) -> &'static str {
    if admin.is_secure {
        "__Host-tollgate"
    } else {
        "tollgate"
    }
}

/// An answer to a browser, with its cookie where that changes.
fn page(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    response
}

fn see(place: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // Made of our own words and an identifier's letters.
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

fn set_cookie(admin: &Admin, response: &mut Response, value: &str, seconds: u64) {
    let secure = if admin.is_secure { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}",
        cookie_name(admin)
    );
    if let Ok(text) = HeaderValue::from_str(&text) {
        response.headers_mut().append(SET_COOKIE, text);
    }
}

async fn style() -> Response {
    let mut response = Response::new(Body::from(html::STYLE));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/css; charset=utf-8"),
    );
    response
}

/// Nothing of an approval is shown before the credential, not even whether it is there.
fn login(status: StatusCode, place: &str, fault: Option<&str>) -> Response {
    page(status, html::login(place, fault))
}

fn reports(admin: &Admin) -> Vec<ApprovalReport> {
    Which::Pending
        .of(&admin.host)
        .iter()
        .map(|approval| ApprovalReport::of(approval, &admin.host))
        .collect()
}

fn look<'a>(browser: &'a Browser, ticket: Option<&'a str>, fault: Option<&'a str>) -> Look<'a> {
    Look {
        person: browser.approver.person().as_str(),
        form: &browser.session.form,
        ticket,
        fault,
    }
}

async fn list(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    match browser(&admin, &headers) {
        None => login(StatusCode::OK, "/approvals", None),
        Some(browser) => page(
            StatusCode::OK,
            html::list(&reports(&admin), look(&browser, None, None)),
        ),
    }
}

/// The login form of the list.
async fn list_form(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let form = match Form::read(request).await {
        Ok((_, form)) => form,
        Err(fault) => return wrong(&fault),
    };
    match enter(&admin, &form) {
        Err(fault) => login(fault.status(), "/approvals", Some(&fault.text())),
        Ok(browser) => {
            let mut response = see("/approvals");
            set_cookie(&admin, &mut response, &browser.cookie, LIFETIME.as_secs());
            response
        }
    }
}

async fn show(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match browser(&admin, &headers) {
        None => login(StatusCode::OK, &place_of(&id), None),
        Some(browser) => shown(&admin, &id, look(&browser, None, None), StatusCode::OK),
    }
}

/// The address of an approval's page; an id that can't be one has the list's.
fn place_of(id: &str) -> Cow<'static, str> {
    match id.parse::<ApprovalId>() {
        Ok(id) => Cow::Owned(format!("/approvals/{id}")),
        Err(_) => Cow::Borrowed("/approvals"),
    }
}

fn shown(admin: &Admin, id: &str, look: Look<'_>, status: StatusCode) -> Response {
    match api::found(admin, id) {
        Ok(approval) => {
            let report = ApprovalReport::of(&approval, &admin.host);
            page(status, html::approval(&report, look))
        }
        Err(fault) => page(fault.status(), html::unknown(look)),
    }
}

/// A session for the credential in a form.
fn enter(admin: &Admin, form: &Form) -> Result<Browser, Fault> {
    let credential = form.word("credential");
    let approver = admin
        .host
        .person(credential, Door::Admin)
        .map_err(|refusal| Fault::of(&refusal))?;
    let internal = |error: &dyn std::error::Error| {
        Fault::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "host.internal",
            error.to_string(),
        )
    };
    let digest = PersonToken::digest_of(credential).map_err(|error| internal(&error))?;
    let cookie = admin
        .sessions
        .begin(approver.person().clone(), digest)
        .map_err(|error| internal(&error))?;
    let session = admin
        .sessions
        .find(&cookie)
        .ok_or_else(|| Fault::not_found("session"))?;
    Ok(Browser {
        cookie,
        session,
        approver,
    })
}

/// The forms of an approval's page: the credential, a yes, a no.
async fn form(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (headers, form) = match Form::read(request).await {
        Ok(read) => read,
        Err(fault) => return wrong(&fault),
    };
    if form.word("answer").is_empty() {
        return begin(&admin, &id, &form);
    }
    let Some(browser) = browser(&admin, &headers) else {
        return login(
            StatusCode::UNAUTHORIZED,
            &place_of(&id),
            Some("the session is over: log in again"),
        );
    };
    match answer(&admin, &id, &form, &browser).await {
        Ok(place) => see(&place),
        Err(fault) => shown(
            &admin,
            &id,
            look(&browser, None, Some(&fault.text())),
            fault.status(),
        ),
    }
}

/// Answers the credential with the page itself: the ticket in it is in no address and no cookie.
fn begin(admin: &Admin, id: &str, form: &Form) -> Response {
    let browser = match enter(admin, form) {
        Ok(browser) => browser,
        Err(fault) => return login(fault.status(), &place_of(id), Some(&fault.text())),
    };
    let ticket = api::found(admin, id)
        .ok()
        .and_then(|approval| admin.sessions.ticket(&browser.cookie, approval.id).ok());
    let mut response = shown(
        admin,
        id,
        look(&browser, ticket.as_deref(), None),
        StatusCode::OK,
    );
    set_cookie(admin, &mut response, &browser.cookie, LIFETIME.as_secs());
    response
}

/// Gives the answer, and says which page shows what came of it.
async fn answer(admin: &Admin, id: &str, form: &Form, browser: &Browser) -> Result<String, Fault> {
    let id = api::found(admin, id)?.id;
    if !browser.session.wrote(form.word("form")) {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "request.form",
            "this form is not from a page of this session",
        ));
    }
    let given = match form.word("answer") {
        "approve" => {
            proven(admin, id, form, browser)?;
            approve(None)
        }
        "deny" => deny(Some(form.word("why").to_owned())),
        _ => {
            return Err(Fault::new(
                StatusCode::BAD_REQUEST,
                "request.form",
                "the form has no answer that is known",
            ));
        }
    };
    admin
        .host
        .approvals()
        .answer(id, &browser.approver, given)
        .await
        .map_err(|refusal| Fault::of(&refusal))?;
    Ok(format!("/approvals/{id}"))
}

/// INVARIANT: a cookie alone approves nothing. See `session`.
fn proven(admin: &Admin, id: ApprovalId, form: &Form, browser: &Browser) -> Result<(), Fault> {
    let ticket = form.word("ticket");
    if !ticket.is_empty() && admin.sessions.redeem(&browser.cookie, id, ticket) {
        return Ok(());
    }
    let credential = form.word("credential");
    if credential.is_empty() {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "approval.credential",
            "to approve, give your credential once more",
        ));
    }
    let approver = admin
        .host
        .person(credential, Door::Admin)
        .map_err(|refusal| Fault::of(&refusal))?;
    if approver.person() == browser.approver.person() {
        return Ok(());
    }
    Err(Fault::new(
        StatusCode::FORBIDDEN,
        "approval.credential",
        "that is another person's credential: log in as that person",
    ))
}

async fn logout(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let (headers, form) = match Form::read(request).await {
        Ok(read) => read,
        Err(fault) => return wrong(&fault),
    };
    if let Some(browser) = browser(&admin, &headers)
        && browser.session.wrote(form.word("form"))
    {
        admin.sessions.end(&browser.cookie);
    }
    let mut response = see("/approvals");
    set_cookie(&admin, &mut response, "", 0);
    response
}

fn wrong(fault: &Fault) -> Response {
    page(fault.status(), html::wrong(&fault.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_an_approval_or_is_the_list() {
        let id = "approval_aaaaaaaaaaaaaaaa";
        assert_eq!(place_of(id), format!("/approvals/{id}"));
        for id in ["", "x\r\nset-cookie: a=b", "../x", "https://evil.example"] {
            assert_eq!(place_of(id), "/approvals");
        }
    }
}
