//! The doors: each parses, calls one use case, and renders or redirects.

pub mod entry;
pub mod forms;
pub mod reading;

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use kavadam_access::api::Ticket;

use crate::citizen::Citizen;
use crate::guest::Guest;
use crate::router::Portal;
use crate::uam::{logon_url, prelogin_url};

/// 303: whatever was sent, go and GET this. Every POST ends here, so that reloading sends nothing twice.
fn see_other(location: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

/// Sends the device to its gate with a ticket; by way of a fresh challenge, if the one at hand may be too old.
fn log_in_at_gate<C: Citizen>(portal: &Portal<C>, guest: &Guest, ticket: Ticket) -> Response {
    let Guest { token, visit, now, .. } = guest;
    let is_fresh = now.since(token.issued) < portal.config().challenge_lifetime;
    if let Some(challenge) = token.challenge.filter(|_| is_fresh) {
        return see_other(&logon_url(token.gateway, &challenge, &guest.nas.uam_secret, &ticket));
    }
    portal.memory().keep_ticket(visit.nas, visit.mac, ticket, *now);
    see_other(&prelogin_url(token.gateway))
}
