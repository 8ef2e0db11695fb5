//! The UAM endpoints, in the dialect of CoovaChilli.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::Response;
use data_encoding::HEXLOWER_PERMISSIVE;
use kavadam_radius::Credential;

use super::query::Parameters;
use super::signed::Outcome;
use super::{Doors, unknown_device};
use crate::core::{Device, Told};

/// RFC 2865 §5: an attribute holds at most 253 octets.
const MOST_NAME_OCTETS: usize = 253;
const BUSY: &str = "The service does not answer just now. Please try again in a minute.";
const EXPIRED: &str = "That login is no longer valid. Please log in again.";

/// `GET /prelogin`: to the portal with a challenge, or with the news that the device is online.
pub(super) async fn prelogin(
    State(doors): State<Doors>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let Some(device) = doors.device(peer) else {
        return unknown_device();
    };
    let parameters = Parameters::parse(query.as_deref());
    let userurl = parameters.get("userurl");
    match doors.0.engine.view(device.mac).await {
        Some(view) => doors.redirect(&Outcome::Already, &device, Some(&view.id), userurl),
        None => doors.redirect(&Outcome::NotYet, &device, None, userurl),
    }
}

/// `GET /status`: the same, for whoever wants to see how things stand.
pub(super) async fn status(doors: State<Doors>, peer: ConnectInfo<SocketAddr>, query: RawQuery) -> Response<Body> {
    prelogin(doors, peer, query).await
}

/// `GET /logon?username=…&response=…` (or `password=…`): logs in with the challenge given to this device.
pub(super) async fn logon(
    State(doors): State<Doors>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let Some(device) = doors.device(peer) else {
        return unknown_device();
    };
    let parameters = Parameters::parse(query.as_deref());
    let told = log_on(&doors, device, &parameters).await;
    let outcome = match told {
        Told::Online => Outcome::Success,
        Told::Already => Outcome::Already,
        Told::Refused(message) => Outcome::Failed(message.unwrap_or_else(|| EXPIRED.to_owned())),
        Told::Unavailable | Told::Over | Told::Ordered(_) => Outcome::Failed(BUSY.to_owned()),
    };
    let session = match outcome {
        Outcome::Success | Outcome::Already => doors.0.engine.view(device.mac).await,
        _ => None,
    };
    let id = session.as_ref().map(|view| view.id.as_str());
    doors.redirect(&outcome, &device, id, parameters.get("userurl"))
}

/// Spends the challenge, whatever comes of it, and asks the server.
pub(super) async fn log_on(doors: &Doors, device: Device, parameters: &Parameters) -> Told {
    let Some(challenge) = doors.0.challenges.take(device.mac, Instant::now()) else {
        // Reloading the page of a login that has succeeded is no failure.
        let is_online = doors.0.engine.view(device.mac).await.is_some();
        return if is_online { Told::Already } else { Told::Refused(None) };
    };
    let name = parameters.get("username").filter(|name| name.len() <= MOST_NAME_OCTETS);
    let credential = credential(parameters, doors.0.portal.bound(&challenge));
    match name.zip(credential) {
        Some((name, credential)) => doors.0.engine.log_on(device, name.to_owned(), credential).await,
        None => Told::Refused(None),
    }
}

/// `response`: hex of MD5(0 ‖ password ‖ bound), passed on as CHAP. `password`: hex of up to 16 octets xor `bound`, passed on
/// as PAP.
fn credential(parameters: &Parameters, bound: [u8; 16]) -> Option<Credential> {
    let decode = |name| HEXLOWER_PERMISSIVE.decode(parameters.get(name)?.as_bytes()).ok();
    if let Some(response) = decode("response") {
        return Some(Credential::Chap {
            ident: 0,
            response: response.try_into().ok()?,
            challenge: bound.to_vec(),
        });
    }
    let hidden = decode("password").filter(|hidden| (1..=bound.len()).contains(&hidden.len()))?;
    let mut password: Vec<u8> = hidden.iter().zip(bound).map(|(a, b)| a ^ b).collect();
    let end = password
        .iter()
        .rposition(|octet| *octet != 0)
        .map_or(0, |last| last + 1);
    password.truncate(end);
    Some(Credential::Pap(password.into()))
}

/// `GET /logoff`: a stranger again.
pub(super) async fn logoff(State(doors): State<Doors>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response<Body> {
    let Some(device) = doors.device(peer) else {
        return unknown_device();
    };
    doors.0.engine.log_off(device.mac).await;
    doors.redirect(&Outcome::LoggedOff, &device, None, None)
}
