//! FreeRADIUS under test.

use std::path::Path;

use anyhow::bail;
use kavadam_lab::netns::{Netns, Process};

use super::sql::Database;
use super::target::Gates;

/// How the generator speaks to it, beside addresses and numbers.
pub fn arguments() -> Vec<String> {
    Vec::new()
}

/// Fills the database and starts the server in the namespace.
pub fn start(_: &Netns, _: &Path, _: &Database, _: (Gates, u32)) -> anyhow::Result<Process> {
    bail!("not yet")
}
