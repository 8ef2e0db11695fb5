//! `GET /`: a gate's redirect, or the page of the step at which a known visit stands.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use kavadam_access::api::{Status, Step};
use kavadam_domain::{Language, Reason};

use super::{lead_to_gate, log_in_at_gate, see_other};
use crate::citizen::Citizen;
use crate::dress::{asked_language, page_response};
use crate::fault::{Fault, Kind};
use crate::guest::{Guest, Query};
use crate::notice;
use crate::pages::{CodePage, ConnectingPage, FailedPage, NumberPage, Page, ReturningPage, StatusPage, UsedUpPage};
use crate::render::Frame;
use crate::router::Portal;
use crate::token::VisitToken;
use crate::uam::{Arrival, Outcome, is_signed, logon_url};

/// After this long without accounting from the gate, something else is the matter than haste.
const CONNECTING_LIFETIME: Duration = Duration::from_secs(30);

/// A redirect of a gate carries `res`; a link of ours carries `v`.
pub async fn enter<C: Citizen>(
    State(portal): State<Portal<C>>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Fault> {
    if query.params.get("res").is_some() {
        return arrive(&portal, &headers, &query).await;
    }
    let guest = guest_of(&portal, &query).await?;
    let step = step_of(&portal, &guest).await?;
    let reason = query.params.get("why").and_then(notice::decode);
    let is_still = query.params.get("still").is_some();
    Ok(show_step(&portal, &guest, step, reason, is_still))
}

/// `GET /connecting`: waits for the gate's accounting to reach the centre.
pub async fn connecting<C: Citizen>(State(portal): State<Portal<C>>, query: Query) -> Result<Response, Fault> {
    let guest = guest_of(&portal, &query).await?;
    let step = step_of(&portal, &guest).await?;
    let is_early = guest.now.since(guest.token.issued) < CONNECTING_LIFETIME;
    if is_waiting(&step) && is_early {
        return Ok(show(&portal, &guest, "/connecting", &ConnectingPage {}, None));
    }
    Ok(see_other(&format!("/?v={}", guest.seal(&portal))))
}

/// The visit of a link, in the language that the link asks for.
pub async fn guest_of<C: Citizen>(portal: &Portal<C>, query: &Query) -> Result<Guest, Fault> {
    let v = query.params.get("v").ok_or(Kind::NoVisit)?;
    let mut guest = Guest::admit(portal, v, query.peer).await?;
    if let Some(language) = query.params.get("lang").and_then(Language::from_tag) {
        guest.speak(language, portal);
    }
    Ok(guest)
}

pub(super) async fn step_of<C: Citizen>(portal: &Portal<C>, guest: &Guest) -> Result<Step, Fault> {
    portal
        .citizen()
        .step(&guest.visit, guest.now)
        .await
        .map_err(|error| guest.broken(portal, error))
}

async fn arrive<C: Citizen>(portal: &Portal<C>, headers: &HeaderMap, query: &Query) -> Result<Response, Fault> {
    let arrival = Arrival::parse(&query.params).ok_or(Kind::NotUnderstood)?;
    let guest = believe(portal, headers, query, &arrival).await?;
    if arrival.outcome == Outcome::NotYet
        && arrival.challenge.is_some()
        && let Some(ticket) =
            portal
                .memory()
                .take_ticket(guest.visit.nas, guest.visit.mac, arrival.mark.as_deref(), guest.now)
    {
        return Ok(log_in_at_gate(portal, &guest, ticket));
    }
    let reason = arrival.reply.as_deref().and_then(notice::recognise);
    // Somebody else may have used up the challenge, with a copy of its redirect: the ticket may still be good.
    if arrival.outcome == Outcome::Failed
        && reason == Some(Reason::BadCredential)
        && let Some(challenge) = arrival.challenge
        && let Some(ticket) =
            portal
                .memory()
                .take_sent(guest.visit.nas, guest.visit.mac, arrival.mark.as_deref(), guest.now)
    {
        let url = logon_url(guest.token.gateway, &challenge, &guest.nas.uam_secret, &ticket, None);
        return Ok(lead_to_gate(portal, &guest, url));
    }
    match arrival.outcome {
        Outcome::Failed => {
            let reason = reason.map(|reason| reason.message(guest.token.language));
            Ok(show(portal, &guest, "/", &FailedPage { reason }, None))
        }
        Outcome::LoggedOff => Ok(see_other(&format!("/disconnected?v={}", guest.seal(portal)))),
        Outcome::NotYet => {
            let step = step_of(portal, &guest).await?;
            Ok(show_step(portal, &guest, step, None, false))
        }
        Outcome::Success | Outcome::Already => {
            let step = step_of(portal, &guest).await?;
            if is_waiting(&step) {
                return Ok(show(portal, &guest, "/connecting", &ConnectingPage {}, None));
            }
            Ok(show_step(portal, &guest, step, None, false))
        }
    }
}

/// Checks the redirect's signature with the secret of the gate that it names, and makes its visit.
async fn believe<C: Citizen>(
    portal: &Portal<C>,
    headers: &HeaderMap,
    query: &Query,
    arrival: &Arrival,
) -> Result<Guest, Fault> {
    let now = portal.now();
    let nas = portal
        .citizen()
        .nas_by_name(&arrival.nas)
        .await
        .map_err(Fault::broken)?;
    let nas = nas.ok_or(Kind::Forged)?;
    if !is_signed(portal.config().public_url.origin(), "/", &query.raw, &nas.uam_secret) {
        return Err(Kind::Forged.into());
    }
    let chosen = portal.memory().language(nas.id, arrival.mac, now);
    let is_open = matches!(arrival.outcome, Outcome::Success | Outcome::Already);
    let token = VisitToken {
        nas: arrival.nas.clone(),
        mac: arrival.mac,
        ip: arrival.ip,
        gateway: arrival.gateway,
        // A challenge that has been answered is not answered again.
        challenge: arrival.challenge.filter(|_| !is_open),
        is_open,
        language: chosen.unwrap_or_else(|| asked_language(headers, &axum::http::Uri::default())),
        issued: now,
    };
    Guest::of_token(portal, token, query.peer, now).await
}

/// The gate says that the device is online, the centre does not yet.
const fn is_waiting(step: &Step) -> bool {
    matches!(step, Step::Number | Step::Code(_) | Step::Returning { .. })
}

fn show_step<C: Citizen>(
    portal: &Portal<C>,
    guest: &Guest,
    step: Step,
    reason: Option<Reason>,
    is_still: bool,
) -> Response {
    let sends_codes = portal.config().sends_codes;
    let reason = reason.filter(|reason| !is_said_by(&step, sends_codes, *reason));
    let language = guest.token.language;
    let notice = reason.map(|reason| reason.message(language));
    match step {
        Step::Number => show(portal, guest, "/", &NumberPage::new(sends_codes), notice),
        Step::Code(pending) => show(portal, guest, "/", &CodePage::new(&pending, sends_codes), notice),
        Step::Returning { masked_number } => show(portal, guest, "/", &ReturningPage { masked_number }, notice),
        // The centre's picture lags behind a gate that lost the session: who is shut out must be able to connect.
        Step::Online(Status { masked_number, .. }) if !guest.token.is_open => {
            show(portal, guest, "/", &ReturningPage { masked_number }, notice)
        }
        Step::Online(status) => show_status(portal, guest, &status, notice, is_still),
        Step::UsedUp(status) => show(portal, guest, "/", &UsedUpPage::new(&status, language), notice),
    }
}

/// Between the refusal and the page that says it.
const HASTE: Duration = Duration::from_secs(2);

/// Whether the page of the step says the same by itself, or what it says has overtaken the reason. A second tap on
/// "resend" is refused as too early, and the code's page says when to ask again; a longer wait it does not know of.
/// A second tap on "verify" may find the first one done. Where no codes are sent there is none to ask for, and the page says what to do.
fn is_said_by(step: &Step, sends_codes: bool, reason: Reason) -> bool {
    match (step, reason) {
        (Step::Code(pending), Reason::TooMany(wait)) => sends_codes && wait <= pending.resend_in + HASTE,
        (Step::Code(_), Reason::WrongCode(0) | Reason::CodeExpired) => !sends_codes,
        (Step::UsedUp(_), Reason::QuotaUsedUp(_))
        | (Step::Number | Step::Returning { .. } | Step::Online(_), Reason::NoChallenge)
        | (Step::Number, Reason::UnknownDevice) => true,
        _ => false,
    }
}

fn show_status<C: Citizen>(
    portal: &Portal<C>,
    guest: &Guest,
    status: &Status,
    notice: Option<String>,
    is_still: bool,
) -> Response {
    let page = StatusPage::new(status, guest.token.language);
    let mut frame = frame(portal, guest, "/", notice);
    let moving = format!("/?v={}", guest.seal(portal));
    frame.still_href = Some(if is_still {
        moving.clone()
    } else {
        format!("{moving}&still=1")
    });
    frame.refresh_href = (!is_still).then_some(moving);
    page_response(portal, &page, frame, Some(guest.token.gateway))
}

/// A page of this visit.
pub fn show<C: Citizen, P: Page>(
    portal: &Portal<C>,
    guest: &Guest,
    path: &str,
    page: &P,
    notice: Option<String>,
) -> Response {
    page_response(
        portal,
        page,
        frame(portal, guest, path, notice),
        Some(guest.token.gateway),
    )
}

pub(super) fn frame<C: Citizen>(portal: &Portal<C>, guest: &Guest, path: &str, notice: Option<String>) -> Frame {
    let v = guest.seal(portal);
    let switch = Language::ALL.map(|to| (to, format!("{path}?v={}&lang={}", guest.seal_in(to, portal), to.tag())));
    Frame {
        language: guest.token.language,
        switch: switch.into(),
        notice,
        refresh_href: Some(format!("{path}?v={v}")),
        still_href: None,
        v: Some(v),
    }
}
