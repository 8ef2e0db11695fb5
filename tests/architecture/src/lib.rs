//! Tests of the crate boundaries
