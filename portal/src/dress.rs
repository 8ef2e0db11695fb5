//! What every answer wears: a deadline, error pages in the reader's language, and headers that keep others out.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderName, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kavadam_domain::Language;

use crate::citizen::Citizen;
use crate::fault::{Fault, Kind};
use crate::language::negotiate;
use crate::pages::Page;
use crate::params::Params;
use crate::render::{Frame, Rendered};
use crate::router::Portal;

/// A use case is one short transaction; a phone on a bad link still gets its four kilobytes of form through.
const DEADLINE: Duration = Duration::from_secs(10);
/// A gate's redirect with a long `userurl` fits; browsers stop at about this, too.
const MOST_URI_CHARS: usize = 8_192;

/// Around every door.
pub async fn dress<C: Citizen>(State(portal): State<Portal<C>>, request: Request, next: Next) -> Response {
    let language = asked_language(request.headers(), request.uri());
    let response = answer(request, next).await;
    let fault = response.extensions().get::<Fault>().cloned();
    let fault = fault.or_else(|| Kind::of_status(response.status()).map(Fault::from));
    let mut response = match fault {
        Some(fault) => error_page(&portal, &fault, language, response.headers()),
        None => response,
    };
    harden(response.headers_mut());
    response
}

async fn answer(request: Request, next: Next) -> Response {
    if request
        .uri()
        .path_and_query()
        .is_some_and(|text| text.as_str().len() > MOST_URI_CHARS)
    {
        return Fault::from(Kind::TooLarge).into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        return ([(ALLOW, "GET, HEAD, POST")], Fault::from(Kind::WrongMethod)).into_response();
    }
    // What was sent by a form is gone; a page can be asked for once more.
    let retry = match request.uri().query() {
        Some(query) if *request.method() != Method::POST => format!("/?{query}"),
        _ => "/".to_owned(),
    };
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Fault::busy(retry).into_response(),
    }
}

/// The language of a page without a visit: the one in its address, else the browser's.
pub fn asked_language(headers: &HeaderMap, uri: &Uri) -> Language {
    let chosen = uri
        .query()
        .and_then(|query| Params::parse(query).ok())
        .and_then(|params| Language::from_tag(params.get("lang")?));
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    chosen.unwrap_or_else(|| negotiate(accepted.unwrap_or_default()))
}

fn error_page<C: Citizen>(portal: &Portal<C>, fault: &Fault, asked: Language, given: &HeaderMap) -> Response {
    let frame = Frame {
        language: fault.language.unwrap_or(asked),
        v: None,
        switch: Vec::new(),
        notice: None,
        refresh_href: None,
        still_href: None,
    };
    let page = fault.page(portal.config().home_gateway);
    let mut response = page_response(portal, &page, frame, None);
    if response.status().is_success() {
        *response.status_mut() = fault.status();
    }
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("60"));
    }
    if let Some(allow) = given.get(ALLOW) {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}

/// A page as a response. `form_target` is the gate that a form of this page may be redirected to: browsers hold such
/// redirects, too, against `form-action`.
pub fn page_response<C: Citizen, P: Page>(
    portal: &Portal<C>,
    page: &P,
    frame: Frame,
    form_target: Option<std::net::SocketAddr>,
) -> Response {
    let language = frame.language;
    let Rendered { html, style_hashes } = match portal.renderer().render(page, frame, portal.config()) {
        Ok(rendered) => rendered,
        Err(error) => {
            tracing::error!(%error, template = P::TEMPLATE, "a page could not be rendered");
            return (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong. Try again in a few minutes.",
            )
                .into_response();
        }
    };
    // CSP knows no IPv6 addresses; forms are not redirected to such a gate, see `doors`.
    let form_action = form_target.filter(std::net::SocketAddr::is_ipv4).map_or_else(
        || "'self'".to_owned(),
        |gateway| format!("'self' {} http://{gateway}", portal.config().public_url.origin()),
    );
    let policy = format!(
        "default-src 'none'; style-src {style_hashes}; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = html.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Headers of every answer, redirects included. An answer without a policy of its own may load and send nothing.
fn harden(headers: &mut HeaderMap) {
    const ALWAYS: [(HeaderName, &str); 5] = [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
}
