//! A small world of network namespaces: phones, a gateway, and an internet with web, DNS and an SMS operator. What `make run`
//! shows and what the end-to-end tests use.
//!
//! ```text
//!  phone 1 ─┐                     gateway                       internet
//!  phone 2 ─┴─ lan0 (bridge) 10.80.0.1/16 · fd00:80::1 ── wan0 198.51.100.2 ── 198.51.100.1
//!                 kavadam, dnsmasq                              203.0.113.10 web · .53 DNS · .54 foreign DNS · .20 SMS operator
//! ```

pub mod accounting;
pub mod branch;
pub mod browser;
pub mod certificates;
pub mod citizen;
pub mod delay;
pub mod dhcp6;
pub mod flood;
pub mod freeradius;
pub mod gateway;
pub mod html;
pub mod internet;
mod lines;
pub mod machine;
pub mod netns;
pub mod nuisance;
pub mod operator;
pub mod phone;
pub mod provider;
pub mod secrets;
pub mod starve;
pub mod tally;
pub mod traces;
pub mod wire;
pub mod world;
pub mod xlat;

pub use citizen::Citizen;
pub use machine::Machine;
pub use phone::Phone;
pub use tally::Tally;
pub use world::World;
