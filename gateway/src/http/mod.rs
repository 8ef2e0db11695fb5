//! The doors that devices knock on: capture, UAM, and the RFC 8908 API.

mod api;
mod capture;
mod challenge;
mod json;
pub(crate) mod query;
mod serve;
mod signed;
pub(crate) mod source;
pub(crate) mod throttle;
mod tls;
mod trust;
mod uam;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::routing::get;

use crate::config::{ApiConfig, GatewayConfig};
use crate::core::Device;
use crate::devices::Devices;
use crate::engine::EngineHandle;
use challenge::Challenges;
use signed::{Outcome, Portal};
use source::Source;
use throttle::Throttle;
use trust::Speech;

pub(crate) use serve::{Seats, listen, listen_udp, serve};
pub use tls::CertificateError;
pub(crate) use tls::{TlsDoor, load as load_certificate};

/// What every door needs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Doors(Arc<Inner>);

struct Inner {
    engine: EngineHandle,
    devices: Devices,
    challenges: Challenges,
    throttle: Throttle,
    returns: Throttle,
    portal: Portal,
    /// `https://…` of the API, where there is one.
    api_origin: Option<String>,
    venue_info_url: String,
}

impl Doors {
    pub fn new(config: &GatewayConfig, called: kavadam_domain::Mac, engine: EngineHandle, devices: Devices) -> Self {
        let venue = config.api.as_ref().and_then(|api| api.venue_info_url.clone());
        Self(Arc::new(Inner {
            engine,
            devices,
            challenges: Challenges::default(),
            throttle: Throttle::of_requests(),
            returns: Throttle::of_returns(),
            portal: Portal {
                url: config.portal_url.clone(),
                secret: config.uam_secret.clone(),
                nas_identifier: config.nas_identifier.clone(),
                lan4: config.lan4.addr(),
                lan6: config.lan6,
                uam_port: config.uam_port,
                called,
            },
            api_origin: config.api.as_ref().map(ApiConfig::origin),
            venue_info_url: venue.unwrap_or_else(|| format!("{}/help", config.portal_url)),
        }))
    }

    /// Answers for every HTTP server a stranger asks for.
    pub fn capture(&self) -> Router {
        let router = Router::new().fallback(capture::capture).with_state(self.clone());
        router.layer(axum::middleware::from_fn_with_state(self.clone(), restrain))
    }

    /// The UAM endpoints.
    pub fn uam(&self) -> Router {
        self.uam_routes(Speech::Clear)
            .layer(axum::middleware::from_fn_with_state(self.clone(), restrain))
    }

    /// The captive portal API, and the UAM endpoints beside it.
    pub fn api(&self) -> Router {
        let captive = Router::new()
            .route("/captive", get(api::captive))
            .with_state(self.clone());
        captive
            .merge(self.uam_routes(Speech::Tls))
            .layer(axum::middleware::from_fn_with_state(self.clone(), restrain))
    }

    fn uam_routes(&self, speech: Speech) -> Router {
        let way = (self.clone(), speech);
        let ending = Router::new()
            .route("/logoff", get(uam::logoff))
            .route("/logout", get(uam::logoff))
            .route("/json/logoff", get(json::logoff))
            .route_layer(axum::middleware::from_fn_with_state(self.clone(), trust::willed));
        let changing = Router::new()
            .route("/logon", get(uam::logon))
            .route("/login", get(uam::logon))
            .route("/json/logon", get(json::logon))
            .merge(ending)
            .route_layer(axum::middleware::from_fn_with_state(way, trust::vouched));
        Router::new()
            .route("/", get(uam::prelogin))
            .route("/status", get(uam::status))
            .route("/prelogin", get(uam::prelogin))
            .route("/json/status", get(json::status))
            .merge(changing)
            .with_state(self.clone())
    }

    fn device(&self, peer: SocketAddr) -> Option<Device> {
        self.0.devices.find(peer.ip())
    }

    /// A fresh challenge if the outcome calls for one, and the redirect.
    fn redirect(
        &self,
        outcome: &Outcome,
        device: &Device,
        session_id: Option<&str>,
        userurl: Option<&str>,
    ) -> Response<Body> {
        let challenge = outcome.asks_for_login().then(|| self.challenge(device));
        let url = self.0.portal.redirect(outcome, device, challenge, session_id, userurl);
        found(&url)
    }

    fn challenge(&self, device: &Device) -> [u8; 16] {
        self.0.challenges.give(device.mac, rand::random(), Instant::now())
    }
}

/// 302 that nobody keeps; a few octets of body for whoever does not follow it.
fn found(url: &str) -> Response<Body> {
    let body = format!(
        "<!doctype html><title>Wi-Fi</title><a href=\"{}\">Wi-Fi</a>",
        url.replace('&', "&amp;")
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    match HeaderValue::from_str(url) {
        Ok(url) => _ = headers.insert(header::LOCATION, url),
        // Cannot be: the URL is made of configuration and percent-encoded text.
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Somebody who is not on our LAN, or not there any more.
fn unknown_device() -> Response<Body> {
    plain(
        StatusCode::FORBIDDEN,
        "This address belongs to no device of this network.\n",
    )
}

/// For every answer: no more than its share for each source, and nothing kept by caches.
async fn restrain(
    State(doors): State<Doors>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let source = request.extensions().get().copied();
    let source = source.unwrap_or_else(|| Source::of(peer.ip(), doors.device(peer).as_ref()));
    let mut response = if doors.0.throttle.admits(source, Instant::now()) {
        next.run(request).await
    } else {
        plain(StatusCode::TOO_MANY_REQUESTS, "Too many requests.\n")
    };
    let headers = response.headers_mut();
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
