//! The server over real sockets, with a centre of paper behind it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod authentication;
mod gates;
mod hostile;
mod lab;
