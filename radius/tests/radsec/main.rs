//! RADIUS over TLS (RFC 6614, RFC 9765), over loopback and with true certificates: who is let in, what is said, what holds when
//! connections break.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod certificates;
mod crowds;
mod hostile;
mod links;
mod orders;
mod reload;
mod scene;
mod spoken;
mod stranger;
mod who;
