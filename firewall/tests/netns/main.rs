//! The gate in real network namespaces.

fn main() {}
