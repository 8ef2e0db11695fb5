//! The captive portal API (RFC 8908).

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderValue, Response, header};
use serde::Serialize;

use super::{Doors, unknown_device};
use crate::core::View;

/// RFC 8908 §5. The last two are left out for captive devices and where there is no limit.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct CaptivePortalState {
    captive: bool,
    user_portal_url: String,
    venue_info_url: String,
    /// The portal takes vouchers and shows the status at any time.
    can_extend_session: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_remaining: Option<u64>,
}

/// `GET /captive`.
pub(super) async fn captive(State(doors): State<Doors>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response<Body> {
    let Some(device) = doors.device(peer) else {
        return unknown_device();
    };
    let view = doors.0.engine.view(device.mac).await;
    let body = serde_json::to_vec(&doors.captive(view.as_ref())).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/captive+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    response
}

impl Doors {
    fn captive(&self, view: Option<&View>) -> CaptivePortalState {
        // It must be reached over TLS: so by our own door, which redirects to the portal.
        let origin = self.0.api_origin.as_deref().unwrap_or_default();
        let seconds_remaining = view.and_then(|view| view.seconds_remaining);
        let bytes_remaining = view.and_then(|view| view.octets_remaining);
        CaptivePortalState {
            captive: view.is_none(),
            user_portal_url: format!("{origin}/prelogin"),
            venue_info_url: self.0.venue_info_url.clone(),
            can_extend_session: view.is_none() || seconds_remaining.is_some() || bytes_remaining.is_some(),
            seconds_remaining,
            bytes_remaining,
        }
    }
}
