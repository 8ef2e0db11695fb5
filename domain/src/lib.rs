//! Pure decisions of a public Wi-Fi service: who may be online, for how long, how fast and for how many octets.
//!
//! Nothing here reads a clock, draws a random number or touches IO: time and randomness are parameters, so every
//! rule can be tested by moving time by hand. The crates around this one load a snapshot, ask, and carry out the answer.

pub mod accounting;
pub mod authorize;
pub mod certificate_name;
pub mod challenge;
pub mod class;
pub mod filter;
pub mod gate;
pub mod ids;
pub mod language;
pub mod limits;
pub mod mac;
pub mod name;
pub mod number;
pub mod plan;
pub mod port_range;
pub mod quota;
pub mod reason;
pub mod session;
pub mod time;

pub use certificate_name::CertificateName;
pub use class::{ClassName, InvalidClassName};
pub use filter::{FilterName, InvalidFilterName};
pub use ids::{ChallengeId, DeviceId, EntitlementId, LeaseId, NasId, PlanId, SessionId, SiteId, SubscriberId};
pub use language::Language;
pub use limits::Limits;
pub use mac::Mac;
pub use number::MobileNumber;
pub use plan::Plan;
pub use port_range::{PortMapping, PortNews, PortRange};
pub use reason::Reason;
pub use time::Timestamp;
