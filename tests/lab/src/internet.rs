//! The web of the small world: answers connectivity checks as the real ones do, and serves as many octets as asked for.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};

/// What [`internet`](self) and the operator know devices by: names whose answers make a device believe that it is online.
pub const NAMES: [&str; 8] = [
    "connectivitycheck.gstatic.com",
    "www.google.com",
    "captive.apple.com",
    "www.msftconnecttest.com",
    "detectportal.firefox.com",
    "nmcheck.gnome.org",
    "connect.rom.miui.com",
    "www.example.net",
];

/// Serves until the process ends.
///
/// # Errors
/// A port is taken.
pub async fn serve(listen: Vec<SocketAddr>) -> anyhow::Result<()> {
    let mut servers = tokio::task::JoinSet::new();
    for address in listen {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))?;
        servers.spawn(axum::serve(listener, router()).into_future());
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}

fn router() -> Router {
    Router::new()
        .route("/generate_204", any(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/hotspot-detect.html",
            get(|| async { html("<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>") }),
        )
        .route("/connecttest.txt", get(|| async { "Microsoft Connect Test" }))
        .route("/success.txt", get(|| async { "success\n" }))
        .route("/check_network_status.txt", get(network_manager))
        .route("/bytes/{octets}", get(bytes))
        .route("/sink", any(sink))
        .fallback(|| async {
            html("<!doctype html><title>A page of the internet</title><h1>A page of the internet</h1>")
        })
}

async fn network_manager() -> Response {
    ([("x-networkmanager-status", "online")], "NetworkManager is online\n").into_response()
}

fn html(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/html")], text).into_response()
}

async fn bytes(Path(octets): Path<u64>) -> Response {
    const CHUNK: u64 = 65_536;
    let chunk = Bytes::from(vec![b'x'; 65_536]);
    let (whole, rest) = (octets / CHUNK, octets % CHUNK);
    let tail = usize::try_from(rest).unwrap_or_default();
    let stream = Chunks { chunk, whole, tail };
    ([(header::CONTENT_LENGTH, octets.to_string())], Body::new(stream)).into_response()
}

async fn sink(request: Request) -> Response {
    let Ok(body) = axum::body::to_bytes(request.into_body(), usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    body.len().to_string().into_response()
}

/// So many chunks, then a shorter one.
struct Chunks {
    chunk: Bytes,
    whole: u64,
    tail: usize,
}

impl axum::body::HttpBody for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let next = if self.whole > 0 {
            self.whole -= 1;
            Some(self.chunk.clone())
        } else {
            let tail = std::mem::take(&mut self.tail);
            (tail > 0).then(|| self.chunk.slice(..tail))
        };
        std::task::Poll::Ready(next.map(|data| Ok(http_body::Frame::data(data))))
    }
}
