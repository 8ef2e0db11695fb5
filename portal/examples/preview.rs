//! Serves every page with sample contents, to be looked at: `cargo run -p kavadam-portal --example preview`.
//!
//! `http://127.0.0.1:8099/` lists them; `/LANGUAGE/NAME` is one. The argument, if any, is another address to listen on.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use kavadam_domain::Language;
use kavadam_portal::{PortalConfig, TokenKey, samples};

type Answer = Result<Html<String>, (StatusCode, String)>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8099").parse()?;
    let router = Router::new()
        .route("/", get(list))
        .route("/{language}/{name}", get(page));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

async fn list() -> Answer {
    let mut links = String::new();
    for language in Language::ALL {
        for sample in of(language)? {
            let path = format!("/{}/{}", language.tag(), sample.name);
            links.extend(["<a href=\"", &path, "\">", &path, "</a>\n"]);
        }
    }
    Ok(Html(links))
}

async fn page(Path((tag, name)): Path<(String, String)>) -> Answer {
    let missing = || (StatusCode::NOT_FOUND, String::from("no such sample"));
    let language = Language::from_tag(&tag).ok_or_else(missing)?;
    let sample = of(language)?.into_iter().find(|sample| sample.name == name);
    Ok(Html(sample.ok_or_else(missing)?.html))
}

fn of(language: Language) -> Result<Vec<samples::Sample>, (StatusCode, String)> {
    let broken = |error: &dyn std::error::Error| {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{error}: {:?}", error.source()),
        )
    };
    let url = "http://10.80.0.1:8081".parse().map_err(|error| broken(&error))?;
    let config = PortalConfig::new(url, TokenKey::new([0; 32]));
    samples::pages(&config, language).map_err(|error| broken(&error))
}
