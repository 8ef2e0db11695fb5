//! The real program, with a configuration and a database of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod check;
mod command_line;
mod desk;
mod nouns;
mod probe;
mod radsec;
mod reload;
mod seen;
mod told;
mod upgrade;
mod vendors;
