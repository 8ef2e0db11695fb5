//! Names for strangers: what a device asks before login passes here on its way to dnsmasq.
//!
//! Two things need somebody who reads it. A **garden** that is given by name opens for the addresses that a device is told, before it is told them;
//! and a **tunnel** through DNS is starved: only the questions of browsers and operating systems are answered, and only so many new names a
//! minute beneath one domain, since a tunnel cannot ask for a name twice.
//!
//! People online ask dnsmasq itself: if this process is dead, they do not notice.

mod budget;
mod door;
mod garden;
mod question;

pub(crate) use door::NameDoor;
pub use garden::{Garden, InvalidGardenName};

#[cfg(feature = "fuzzing")]
pub(crate) use question::{addresses, read, refusal};
