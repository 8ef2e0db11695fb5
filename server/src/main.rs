//! Kavadam: a public Wi-Fi gateway and its RADIUS centre in one binary.
fn main() {}
