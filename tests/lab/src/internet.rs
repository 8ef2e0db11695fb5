//! The web of the small world: answers connectivity checks as the real ones do, and serves as many octets as asked for.

use std::future::poll_fn;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
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

/// Sends every datagram back until the process ends.
///
/// # Errors
/// The port is taken.
pub fn echo(listen: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(listen).with_context(|| format!("listen on {listen}"))?;
    let mut buffer = [0; 2048];
    loop {
        // An error is news of an earlier datagram that nobody took.
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
        }
    }
}

/// Sends so many datagrams to who sends them back; how many came. It stays for a while after the last, so that none finds nobody.
///
/// # Errors
/// No socket.
pub fn exchange(address: SocketAddr, count: u32) -> anyhow::Result<u32> {
    const LATE: u32 = 500;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_millis(4)))?;
    let mut heard = 0;
    for sent in 0..count + LATE {
        if sent < count {
            // Whoever is refused goes on trying.
            _ = socket.send_to(&[7; 1_000], address);
        }
        heard += u32::from(socket.recv_from(&mut [0; 2_048]).is_ok());
    }
    Ok(heard)
}

/// What becomes of a datagram to an address: `reached`, `refused` or `silent`.
///
/// # Errors
/// There is no way to it.
pub fn knock(address: SocketAddr) -> anyhow::Result<&'static str> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.send(b"knock")?;
    match socket.recv(&mut [0; 16]) {
        Ok(_) => Ok("reached"),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok("silent"),
        // The ICMP answer, whichever of its codes.
        Err(_) => Ok("refused"),
    }
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

/// Takes what comes and keeps none of it.
async fn sink(request: Request) -> Response {
    let mut body = request.into_body();
    let mut octets = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => octets += data.len(),
            Ok(Err(_trailers)) => {}
            Err(_) => return StatusCode::BAD_REQUEST.into_response(),
        }
    }
    octets.to_string().into_response()
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
        mut self: Pin<&mut Self>,
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
