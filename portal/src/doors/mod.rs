//! The doors: each parses, calls one use case, and renders or redirects.

pub mod entry;
pub mod forms;
pub mod reading;

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use kavadam_access::api::Ticket;

use crate::citizen::Citizen;
use crate::dress::page_response;
use crate::guest::Guest;
use crate::pages::ConnectingPage;
use crate::render::Frame;
use crate::router::Portal;
use crate::token::mark_of;
use crate::uam::{logon_url, prelogin_url};

/// 303: whatever was sent, go and GET this. A POST ends here, so that reloading sends nothing twice.
fn see_other(location: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

/// Sends the device to its gate with a ticket; by way of a fresh challenge, if the one at hand may be too old.
fn log_in_at_gate<C: Citizen>(portal: &Portal<C>, guest: &Guest, ticket: Ticket) -> Response {
    let Guest { token, visit, now, .. } = guest;
    // Whoever is not seen may be about somebody else's device, who must not come and fetch the ticket.
    let mark = (!visit.is_seen).then(|| mark_of(&ticket, &portal.config().token_key));
    let is_fresh = now.since(token.issued) < portal.config().challenge_lifetime;
    if let Some(challenge) = token.challenge.filter(|_| is_fresh) {
        let secret = &guest.nas.uam_secret;
        let url = logon_url(token.gateway, &challenge, secret, &ticket, mark.as_deref());
        portal.memory().keep_sent(visit.nas, visit.mac, ticket, mark, *now);
        return lead_to_gate(portal, guest, url);
    }
    let url = prelogin_url(token.gateway, mark.as_deref());
    portal.memory().keep_ticket(visit.nas, visit.mac, ticket, mark, *now);
    lead_to_gate(portal, guest, url)
}

/// A form may be redirected to where `form-action` says, which cannot name an IPv6 address: to such a gate a page leads.
fn lead_to_gate<C: Citizen>(portal: &Portal<C>, guest: &Guest, url: String) -> Response {
    if guest.token.gateway.is_ipv4() {
        return see_other(&url);
    }
    let frame = Frame {
        refresh_href: Some(url),
        ..entry::frame(portal, guest, "/", None)
    };
    page_response(portal, &ConnectingPage {}, frame, None)
}

/// Whoever asks for a form's address, as after a form that failed, begins at the first page.
pub async fn begin() -> Response {
    see_other("/")
}
