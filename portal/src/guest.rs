//! Who is in front of the page: a request's visit token, opened and checked against the gates of today.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;
use kavadam_access::api::{NasEntry, Visit};
use kavadam_domain::{Language, Timestamp};

use crate::citizen::Citizen;
use crate::fault::{Fault, Kind};
use crate::params::{Malformed, Params};
use crate::router::Portal;
use crate::token::{BadToken, VisitToken};

/// A device whose visit is in order.
pub struct Guest {
    /// The visit, for the use cases.
    pub visit: Visit,
    /// Its token, opened.
    pub token: VisitToken,
    /// Its gate.
    pub nas: NasEntry,
    /// When the request came.
    pub now: Timestamp,
}

impl Guest {
    /// Admits the holder of a token, if its gate still exists and, where devices are seen, it is the token's device.
    pub async fn admit<C: Citizen>(portal: &Portal<C>, v: &str, peer: Option<IpAddr>) -> Result<Self, Fault> {
        let now = portal.now();
        let config = portal.config();
        let token = VisitToken::open(v, &config.token_key, config.visit_lifetime, now)?;
        Self::of_token(portal, token, peer, now).await
    }

    /// The same for a token that is not sealed yet.
    pub async fn of_token<C: Citizen>(
        portal: &Portal<C>,
        token: VisitToken,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        if portal.config().sees_devices && !is_same_device(peer, token.ip) {
            return Err(Kind::Forged.into());
        }
        let nas = portal.citizen().nas_by_name(&token.nas).await.map_err(Fault::broken)?;
        let nas = nas.ok_or(Kind::Forged)?;
        let visit = Visit {
            nas: nas.id,
            site: nas.site,
            mac: token.mac,
            ip: token.ip,
            is_seen: portal.config().sees_devices && peer == Some(token.ip),
            language: token.language,
            offline_at: (!token.is_open).then_some(token.issued),
        };
        Ok(Self { visit, token, nas, now })
    }

    /// The token's text, for the page's forms and links.
    pub fn seal<C: Citizen>(&self, portal: &Portal<C>) -> String {
        self.token.seal(&portal.config().token_key)
    }

    /// The same token in another language.
    pub fn seal_in<C: Citizen>(&self, language: Language, portal: &Portal<C>) -> String {
        let token = VisitToken {
            language,
            ..self.token.clone()
        };
        token.seal(&portal.config().token_key)
    }

    /// A use case of this visit that failed.
    pub fn broken<C: Citizen>(&self, portal: &Portal<C>, error: C::Error) -> Fault {
        Fault::broken(error).with_retry(self.token.language, format!("/?v={}", self.seal(portal)))
    }

    /// Changes the language of this visit and of those that follow on the same device.
    pub fn speak<C: Citizen>(&mut self, language: Language, portal: &Portal<C>) {
        portal
            .memory()
            .keep_language(self.visit.nas, self.visit.mac, language, self.now);
        self.token.language = language;
        self.visit.language = language;
    }
}

impl From<BadToken> for Fault {
    fn from(bad: BadToken) -> Self {
        match bad {
            BadToken::Forged => Kind::Forged.into(),
            BadToken::Expired { gateway, language } => Self::expired(gateway, language),
        }
    }
}

impl From<Malformed> for Fault {
    fn from(Malformed: Malformed) -> Self {
        Kind::NotUnderstood.into()
    }
}

/// The parameters of a GET, and where it came from.
pub struct Query {
    /// As sent, for signatures.
    pub raw: String,
    /// Decoded.
    pub params: Params,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let raw = parts.uri.query().unwrap_or_default().to_owned();
        let params = Params::parse(&raw)?;
        let peer = peer_of(parts);
        Ok(Self { raw, params, peer })
    }
}

/// A form sent by a page of ours.
pub struct Form {
    /// Its fields.
    pub fields: Params,
    /// Who sent it.
    pub guest: Guest,
}

impl<C: Citizen> FromRequest<Portal<C>> for Form {
    type Rejection = Fault;

    async fn from_request(request: Request, portal: &Portal<C>) -> Result<Self, Fault> {
        let (mut parts, body) = request.into_parts();
        refuse_other_sites(&parts.headers)?;
        if !is_form(&parts.headers) {
            return Err(Kind::NotAForm.into());
        }
        let peer = peer_of(&mut parts);
        let request = Request::from_parts(parts, body);
        let text = String::from_request(request, portal).await.map_err(|rejection| {
            let status = rejection.into_response().status();
            Fault::from(Kind::of_status(status).unwrap_or(Kind::NotUnderstood))
        })?;
        let fields = Params::parse(&text)?;
        let guest = Guest::admit(portal, fields.get("v").ok_or(Kind::Forged)?, peer).await?;
        Ok(Self { fields, guest })
    }
}

/// A phone caught over IPv6 may come to a portal that has an IPv4 address only, and the other way round: then nothing
/// can be compared.
fn is_same_device(peer: Option<IpAddr>, ip: IpAddr) -> bool {
    peer.is_some_and(|peer| peer == ip || peer.is_ipv4() != ip.is_ipv4())
}

/// A second line behind the visit token: browsers say where a form came from (Fetch Metadata), over HTTPS at least.
fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Kind::CrossSite.into()),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// The peer's address; a listener for both families shows IPv4 as mapped.
fn peer_of(parts: &mut Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}
