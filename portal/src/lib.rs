//! The pages a citizen meets at an open Wi-Fi: number → code → connected, in Malayalam and English.
//!
//! ```text
//! gate ──302 (signed, UAM dialect)──▶ GET /?res=notyet&…&md=      uam::Arrival: is it from a gate of ours?
//!                                     │ mints the visit token `v`  token::VisitToken: session and CSRF proof in one
//!                                     ▼
//!                          page of the device's step               citizen::Citizen::step
//!   POST /number /code /resend /change /connect /disconnect /voucher ──303──▶ GET /?v=…   or   ──303──▶ gate's /logon
//! ```
//!
//! There are no cookies and no scripts: mini-browsers forget the former and may refuse the latter. What a device has
//! done so far is kept by the use cases, by device and site, so that a page closed and opened anew lands on the step
//! it left. A POST ends in a redirect, so that reloading never sends a form twice; but for a number that is refused, which comes back in its field.
//!
//! Otherwise a refusal ([`kavadam_domain::Reason`]) travels in the redirect as a word and a figure and is put into a sentence on
//! the page that follows; an error page says what a citizen can do, and the log says why.

mod allowance;
mod citizen;
mod config;
mod doors;
mod dress;
mod fault;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guest;
mod language;
mod measure;
mod memory;
mod notice;
mod pages;
mod params;
mod render;
mod router;
pub mod samples;
mod serve;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod texts;
mod token;
mod uam;

pub use citizen::Citizen;
pub use config::{InvalidUrl, PerLanguage, PortalConfig, PublicUrl, TokenKey};
pub use router::router;
pub use serve::{Peers, serve};
