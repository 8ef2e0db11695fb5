//! The UAM endpoints as JSON, or JSONP for pages of another origin.
//!
//! With a callback any page in the world may read the answer, and with a foreign Host (DNS rebinding) likewise: then it holds
//! nothing that tells the device apart. Nor does it where the device is known [by hearsay](is_hearsay).

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::query::{Parameters, is_callback};
use super::trust::is_hearsay;
use super::uam::log_on;
use super::{Doors, plain, unknown_device};
use crate::core::{Device, Told, View};

/// `GET /json/status`.
pub(super) async fn status(State(doors): State<Doors>, asked: Asked) -> Response<Body> {
    match asked.read(&doors) {
        Ok((device, parameters)) => show(&doors, &asked, &device, &parameters, None).await,
        Err(refusal) => *refusal,
    }
}

/// `GET /json/logon`, parameters as `/logon`.
pub(super) async fn logon(State(doors): State<Doors>, asked: Asked) -> Response<Body> {
    let (device, parameters) = match asked.read(&doors) {
        Ok(read) => read,
        Err(refusal) => return *refusal,
    };
    let message = match log_on(&doors, device, &parameters).await {
        Told::Refused(message) => Some(message.unwrap_or_else(|| "Login refused".to_owned())),
        Told::Unavailable => Some("Login not available".to_owned()),
        Told::Online | Told::Already | Told::Over | Told::Ordered(_) => None,
    };
    show(&doors, &asked, &device, &parameters, message).await
}

/// `GET /json/logoff`.
pub(super) async fn logoff(State(doors): State<Doors>, asked: Asked) -> Response<Body> {
    let (device, parameters) = match asked.read(&doors) {
        Ok(read) => read,
        Err(refusal) => return *refusal,
    };
    doors.0.engine.log_off(device.mac).await;
    show(&doors, &asked, &device, &parameters, None).await
}

/// What a request says.
pub(super) struct Asked {
    peer: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    query: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = <ConnectInfo<SocketAddr> as FromRequestParts<S>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self {
            peer: ConnectInfo::from_request_parts(parts, state).await?,
            headers: parts.headers.clone(),
            query: parts.uri.query().map(str::to_owned),
        })
    }
}

impl Asked {
    /// The device and parameters, or the answer to a request that is not in order.
    fn read(&self, doors: &Doors) -> Result<(Device, Parameters), Box<Response<Body>>> {
        let parameters = Parameters::parse(self.query.as_deref());
        if parameters.get("callback").is_some_and(|name| !is_callback(name)) {
            return Err(plain(StatusCode::BAD_REQUEST, "The callback is not a name.\n").into());
        }
        let device = doors.device(self.peer.0).ok_or_else(|| Box::new(unknown_device()))?;
        Ok((device, parameters))
    }
}

/// How things stand, with a message for the user.
async fn show(
    doors: &Doors,
    asked: &Asked,
    device: &Device,
    parameters: &Parameters,
    message: Option<String>,
) -> Response<Body> {
    let callback = parameters.get("callback");
    let view = doors.0.engine.view(device.mac).await;
    let is_private = callback.is_none() && doors.is_our_host(&asked.headers) && !is_hearsay(device);
    let body = state(doors, device, view.as_ref(), message, is_private);
    render(&body, callback)
}

impl Doors {
    fn is_our_host(&self, headers: &HeaderMap) -> bool {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let portal = &self.0.portal;
        let api = self
            .0
            .api_origin
            .as_deref()
            .and_then(|origin| origin.strip_prefix("https://"));
        host == format!("{}:{}", portal.lan4, portal.uam_port)
            || portal
                .lan6
                .is_some_and(|lan6| host == format!("[{}]:{}", lan6.addr(), portal.uam_port))
            || api == Some(host)
    }
}

fn state(doors: &Doors, device: &Device, view: Option<&View>, message: Option<String>, is_private: bool) -> Value {
    let portal = &doors.0.portal;
    let mut body = json!({
        "version": "1.0",
        "clientState": u8::from(view.is_some()),
        "nasid": portal.nas_identifier,
        "location": { "name": portal.nas_identifier },
        "redir": { "logoutURL": format!("http://{}:{}/logoff", portal.lan4, portal.uam_port) },
    });
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    if let Some(message) = message {
        fields.insert("message".to_owned(), message.into());
    }
    if is_private && let Some(redir) = fields.get_mut("redir").and_then(Value::as_object_mut) {
        redir.insert("ipAddress".to_owned(), json!(device.ipv4));
        redir.insert("macAddress".to_owned(), device.mac.to_string().into());
    }
    match view {
        None => {
            let challenge = HEXLOWER.encode(&doors.challenge(device));
            fields.insert("challenge".to_owned(), challenge.into());
        }
        Some(view) => {
            fields.insert("session".to_owned(), session(view, is_private));
            fields.insert("accounting".to_owned(), accounting(view));
        }
    }
    body
}

/// 0 means none, as in the dialect.
fn session(view: &View, is_private: bool) -> Value {
    let limits = &view.limits;
    json!({
        "sessionId": if is_private { view.id.as_str() } else { "" },
        "startTime": view.started.as_secs(),
        "sessionTimeout": limits.session_secs.unwrap_or(0),
        "idleTimeout": limits.idle_secs.unwrap_or(0),
        "maxTotalOctets": limits.max_total_octets.unwrap_or(0),
        "maxBandwidthUp": limits.up_bits_per_sec.unwrap_or(0),
        "maxBandwidthDown": limits.down_bits_per_sec.unwrap_or(0),
    })
}

/// Input is what the client received: the dialect's "client" point of view.
fn accounting(view: &View) -> Value {
    const GIGAWORD: u64 = 1 << 32;
    json!({
        "sessionTime": view.session_secs,
        "idleTime": view.idle_secs,
        "inputOctets": view.meter.down_octets % GIGAWORD,
        "inputGigawords": view.meter.down_octets / GIGAWORD,
        "outputOctets": view.meter.up_octets % GIGAWORD,
        "outputGigawords": view.meter.up_octets / GIGAWORD,
        "viewPoint": "client",
    })
}

fn render(body: &Value, callback: Option<&str>) -> Response<Body> {
    // "</script>" or U+2028 must mean nothing wherever this ends up.
    let text = body
        .to_string()
        .replace('<', "\\u003c")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    let (text, kind) = match callback {
        Some(name) => (format!("/**/{name}({text});"), "text/javascript; charset=utf-8"),
        None => (text, "application/json"),
    };
    let mut response = Response::new(Body::from(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
