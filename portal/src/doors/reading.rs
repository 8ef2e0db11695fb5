//! Pages to read: terms, privacy notice and help, with or without a visit, and the farewell.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use kavadam_domain::Language;

use super::entry::{guest_of, show};
use crate::citizen::Citizen;
use crate::dress::{asked_language, page_response};
use crate::fault::Fault;
use crate::guest::Query;
use crate::pages::{DisconnectedPage, Document, DocumentPage};
use crate::render::Frame;
use crate::router::Portal;

type Answer = Result<Response, Fault>;

/// `GET /disconnected`.
pub async fn disconnected<C: Citizen>(State(portal): State<Portal<C>>, query: Query) -> Answer {
    let guest = guest_of(&portal, &query).await?;
    Ok(show(&portal, &guest, "/disconnected", &DisconnectedPage {}, None))
}

/// `GET /terms`.
pub async fn terms<C: Citizen>(portal: State<Portal<C>>, headers: HeaderMap, uri: Uri, query: Query) -> Answer {
    read(Document::Terms, portal, headers, uri, query).await
}

/// `GET /privacy`.
pub async fn privacy<C: Citizen>(portal: State<Portal<C>>, headers: HeaderMap, uri: Uri, query: Query) -> Answer {
    read(Document::Privacy, portal, headers, uri, query).await
}

/// `GET /help`.
pub async fn help<C: Citizen>(portal: State<Portal<C>>, headers: HeaderMap, uri: Uri, query: Query) -> Answer {
    read(Document::Help, portal, headers, uri, query).await
}

async fn read<C: Citizen>(
    document: Document,
    State(portal): State<Portal<C>>,
    headers: HeaderMap,
    uri: Uri,
    query: Query,
) -> Answer {
    let path = format!("/{}", document.name());
    let years = portal.config().records_kept_years;
    if query.params.get("v").is_some() {
        let guest = guest_of(&portal, &query).await?;
        let page = DocumentPage::new(document, years, guest.token.language);
        return Ok(show(&portal, &guest, &path, &page, None));
    }
    let language = asked_language(&headers, &uri);
    let frame = Frame {
        language,
        v: None,
        switch: Language::ALL.map(|to| (to, format!("{path}?lang={}", to.tag()))).into(),
        notice: None,
        refresh_href: None,
        still_href: None,
    };
    Ok(page_response(
        &portal,
        &DocumentPage::new(document, years, language),
        frame,
        None,
    ))
}
