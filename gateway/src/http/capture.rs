//! The capture listener: whatever a stranger asks of whatever server, it is sent to the portal.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Response, header};

use super::query::is_host;
use super::signed::Outcome;
use super::source::Source;
use super::{Doors, found, unknown_device};
use crate::core::Told;

/// Any Host, path and method. The connection is closed, since the next one may well go to the true server.
pub(super) async fn capture(
    State(doors): State<Doors>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let Some(device) = doors.device(peer) else {
        return unknown_device();
    };
    let userurl = original_url(&request);
    let source = Source::Device(device.mac);
    let told = doors.0.engine.knock(device).await;
    let mut response = match (told, userurl.as_deref()) {
        // Remembered, and online as of now: what it asked for is where it belongs.
        (Told::Online, Some(url)) => found(url),
        (Told::Online, None) => doors.redirect(&Outcome::Success, &device, None, None),
        // On a connection from before its login, which the kernel still leads here: the next one goes to the true server. Not for
        // ever: a device that the kernel does not let pass would go in circles.
        (Told::Already, Some(url)) if doors.0.returns.admits(source, Instant::now()) => found(url),
        (Told::Already, url) => doors.redirect(&Outcome::Already, &device, None, url),
        (_, url) => match doors.0.portal.first_stop(&device, url) {
            Some(ours) => found(&ours),
            None => doors.redirect(&Outcome::NotYet, &device, None, url),
        },
    };
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What the device asked for, if that can be told without doubt.
fn original_url(request: &Request) -> Option<String> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let is_plain = is_host(host) && path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    is_plain.then(|| format!("http://{host}{path}"))
}
