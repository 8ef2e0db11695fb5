//! Our NAS: capture, UAM, RFC 8908 API, RADIUS client with a durable spool.

pub mod config;
pub mod dnsmasq;

#[cfg(test)]
mod testing;

pub use config::GatewayConfig;
