//! What people send: each form is one use case, and ends in a redirect; but for a number that is refused, whose page comes back as it was filled in.

use axum::extract::State;
use axum::response::Response;
use kavadam_access::api::{Started, Step, Verified};
use kavadam_domain::Reason;

use super::{entry, log_in_at_gate, see_other};
use crate::citizen::Citizen;
use crate::fault::Fault;
use crate::guest::{Form, Guest};
use crate::notice;
use crate::pages::NumberPage;
use crate::router::Portal;

type Answer = Result<Response, Fault>;

/// `POST /number`: send a code; or, where none is sent, take the voucher that came with it. Without one, the code of an app is asked for.
pub async fn number<C: Citizen>(State(portal): State<Portal<C>>, form: Form) -> Answer {
    let Form { fields, guest } = form;
    let number = fields.get("number").unwrap_or_default();
    let has_consent = fields.get("consent") == Some("1");
    let code = fields.get("voucher").unwrap_or_default();
    let typed = NumberPage::typed(portal.config().sends_codes, number, has_consent, code);
    if !portal.config().sends_codes && !code.trim().is_empty() {
        let taken = portal
            .citizen()
            .redeem_voucher_for(&guest.visit, number, has_consent, code, guest.now)
            .await;
        return match taken.map_err(|error| guest.broken(&portal, error))? {
            Verified::Ticket(ticket) => Ok(log_in_at_gate(&portal, &guest, ticket)),
            Verified::Refused(reason) => number_again(&portal, &guest, typed, reason).await,
        };
    }
    let started = portal
        .citizen()
        .start_login(&guest.visit, number, has_consent, guest.now)
        .await;
    match started.map_err(|error| guest.broken(&portal, error))? {
        Started::Sent(_) => Ok(to_step(&portal, &guest, None)),
        Started::Refused(reason) => number_again(&portal, &guest, typed, reason).await,
    }
}

/// The page that was sent, with what was typed, as long as that is where the device stands: ten digits are much on a small phone. They are put into no address.
async fn number_again<C: Citizen>(portal: &Portal<C>, guest: &Guest, typed: NumberPage, reason: Reason) -> Answer {
    if entry::step_of(portal, guest).await? != Step::Number {
        return Ok(to_step(portal, guest, Some(reason)));
    }
    let notice = reason.message(guest.token.language);
    Ok(entry::show(portal, guest, "/", &typed.refused(reason), Some(notice)))
}

/// `POST /resend`: send another code.
pub async fn resend<C: Citizen>(State(portal): State<Portal<C>>, Form { guest, .. }: Form) -> Answer {
    let started = portal.citizen().resend_code(&guest.visit, guest.now).await;
    let reason = match started.map_err(|error| guest.broken(&portal, error))? {
        Started::Sent(_) => None,
        Started::Refused(reason) => Some(reason),
    };
    Ok(to_step(&portal, &guest, reason))
}

/// `POST /code`: check the code, then on to the gate.
pub async fn code<C: Citizen>(State(portal): State<Portal<C>>, Form { fields, guest }: Form) -> Answer {
    let code = fields.get("code").unwrap_or_default();
    let verified = portal.citizen().verify_code(&guest.visit, code, guest.now).await;
    Ok(to_gate(
        &portal,
        &guest,
        verified.map_err(|error| guest.broken(&portal, error))?,
    ))
}

/// `POST /connect`: a known device comes back.
pub async fn connect<C: Citizen>(State(portal): State<Portal<C>>, Form { guest, .. }: Form) -> Answer {
    let verified = portal.citizen().reconnect(&guest.visit, guest.now).await;
    Ok(to_gate(
        &portal,
        &guest,
        verified.map_err(|error| guest.broken(&portal, error))?,
    ))
}

/// `POST /voucher`: more octets, then on to the gate.
pub async fn voucher<C: Citizen>(State(portal): State<Portal<C>>, Form { fields, guest }: Form) -> Answer {
    let code = fields.get("voucher").unwrap_or_default();
    let verified = portal.citizen().redeem_voucher(&guest.visit, code, guest.now).await;
    Ok(to_gate(
        &portal,
        &guest,
        verified.map_err(|error| guest.broken(&portal, error))?,
    ))
}

/// `POST /change`: begin again with another number.
pub async fn change<C: Citizen>(State(portal): State<Portal<C>>, Form { guest, .. }: Form) -> Answer {
    portal
        .citizen()
        .change_number(&guest.visit, guest.now)
        .await
        .map_err(|error| guest.broken(&portal, error))?;
    Ok(to_step(&portal, &guest, None))
}

/// `POST /disconnect`: leave. Whoever was not online any more gets the same page.
pub async fn disconnect<C: Citizen>(State(portal): State<Portal<C>>, Form { guest, .. }: Form) -> Answer {
    portal
        .citizen()
        .disconnect(&guest.visit, guest.now)
        .await
        .map_err(|error| guest.broken(&portal, error))?;
    Ok(see_other(&format!("/disconnected?v={}", guest.seal(&portal))))
}

fn to_gate<C: Citizen>(portal: &Portal<C>, guest: &Guest, verified: Verified) -> Response {
    match verified {
        Verified::Ticket(ticket) => log_in_at_gate(portal, guest, ticket),
        Verified::Refused(reason) => to_step(portal, guest, Some(reason)),
    }
}

fn to_step<C: Citizen>(portal: &Portal<C>, guest: &Guest, reason: Option<Reason>) -> Response {
    let v = guest.seal(portal);
    match reason {
        None => see_other(&format!("/?v={v}")),
        Some(reason) => see_other(&format!("/?v={v}&why={}", notice::encode(reason))),
    }
}
