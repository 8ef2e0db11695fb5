//! Names: what devices ask passes here on its way to dnsmasq.
//!
//! Four things need somebody who reads it. A **garden** that is given by name opens for the addresses that a device is told, before it is told them;
//! what is **free** by name likewise is charged to nobody; what is **blocked** by name does not exist, for all or for those of a filter; and a **tunnel** of a stranger through DNS is
//! starved: only the questions of browsers and operating systems are answered, and only so many new names a minute beneath one domain, since a
//! tunnel cannot ask for a name twice.
//!
//! People online ask here only where something is free, open or blocked by name, and only as long as this process says every second that it lives:
//! if it is dead they ask dnsmasq itself.

mod answer;
mod blocklist;
mod budget;
mod door;
mod filtered;
mod garden;
mod opened;
mod question;
mod watch;

pub(crate) use answer::{Answerer, Rules};
pub use blocklist::{Blocklist, InvalidBlockedName, ListRead};
pub(crate) use door::NameDoor;
pub use garden::{Garden, InvalidGardenName};

#[cfg(feature = "fuzzing")]
pub(crate) use question::{addresses, denial, name, read, refusal};
