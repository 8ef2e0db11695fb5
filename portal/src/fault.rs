//! Why a request gets an error page instead of what it asked for.

use std::fmt::Display;
use std::net::SocketAddr;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kavadam_domain::Language;

use crate::pages::ErrorPage;
use crate::uam::prelogin_url;

/// An error page to be. Handlers return it; `dress` turns it into a page in the reader's language.
#[derive(Debug, Clone)]
pub struct Fault {
    kind: Kind,
    /// A gate that would send the device here anew.
    gateway: Option<SocketAddr>,
    /// The language of the visit, where it is known.
    pub language: Option<Language>,
    /// The visit's own page, to try again from.
    retry: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No such path.
    NotFound,
    /// A method other than the page's.
    WrongMethod,
    /// Parameters that cannot be read, or repeat.
    NotUnderstood,
    /// A form or an address beyond its bounds.
    TooLarge,
    /// A form in an encoding that browsers do not use here.
    NotAForm,
    /// A form sent by a page of somebody else.
    CrossSite,
    /// Somebody who comes without a redirect.
    NoVisit,
    /// A redirect or token that no gate and no portal of ours made, or for another device.
    Forged,
    /// A visit that is over.
    Expired,
    /// The use case took too long.
    Busy,
    /// The use case failed.
    Broken,
}

impl Kind {
    /// The kind of an answer that the router gave by itself.
    pub fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::NOT_FOUND => Some(Self::NotFound),
            StatusCode::METHOD_NOT_ALLOWED => Some(Self::WrongMethod),
            StatusCode::PAYLOAD_TOO_LARGE => Some(Self::TooLarge),
            status if status.is_client_error() => Some(Self::NotUnderstood),
            status if status.is_server_error() => Some(Self::Broken),
            _ => None,
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotUnderstood => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // Somebody who just typed the address has done nothing wrong.
            Self::NoVisit => StatusCode::OK,
            Self::CrossSite | Self::Forged | Self::Expired => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::WrongMethod | Self::NotAForm => "wrong_way",
            Self::NotUnderstood => "not_understood",
            Self::TooLarge => "too_large",
            Self::NoVisit => "open_from_wifi",
            Self::CrossSite | Self::Forged => "not_from_hotspot",
            Self::Expired => "expired",
            Self::Busy => "busy",
            Self::Broken => "went_wrong",
        }
    }
}

impl From<Kind> for Fault {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            gateway: None,
            language: None,
            retry: None,
        }
    }
}

impl Fault {
    /// A visit that is over, with the way to a new one.
    pub const fn expired(gateway: SocketAddr, language: Language) -> Self {
        Self {
            kind: Kind::Expired,
            gateway: Some(gateway),
            language: Some(language),
            retry: None,
        }
    }

    /// Too slow; with the page to try again from.
    pub fn busy(retry: String) -> Self {
        Self {
            retry: Some(retry),
            ..Kind::Busy.into()
        }
    }

    /// The same for a visit: its language, and the page to try again from.
    pub fn with_retry(self, language: Language, retry: String) -> Self {
        Self {
            language: Some(language),
            retry: Some(retry),
            ..self
        }
    }

    /// A use case that failed: logged here, once.
    pub fn broken(error: impl Display) -> Self {
        tracing::error!(%error, "a citizen's request failed");
        Kind::Broken.into()
    }

    /// The status code of the page.
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The page, with the operator's own gate where no other is known.
    pub fn page(&self, home_gateway: Option<SocketAddr>) -> ErrorPage {
        let is_lost = matches!(
            self.kind,
            Kind::NoVisit | Kind::Forged | Kind::Expired | Kind::CrossSite
        );
        // Where no gate is known, our own first page says how to find one.
        let is_astray = matches!(
            self.kind,
            Kind::NotFound | Kind::WrongMethod | Kind::NotUnderstood | Kind::TooLarge | Kind::NotAForm
        );
        let gateway = self.gateway.or(home_gateway).filter(|_| is_lost || is_astray);
        ErrorPage {
            title: self.kind.title(),
            says_how: is_lost && self.kind != Kind::Expired,
            prelogin: gateway
                .map(|gateway| prelogin_url(gateway, None))
                .or_else(|| is_astray.then(|| "/".to_owned())),
            retry: self.retry.clone(),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
