//! The only SQL: SQLite and PostgreSQL behind one set of functions.
//!
//! A use case takes a [`Tx`] from [`Store::write`] (or [`Store::read`]), calls functions on it, and commits. Each statement has one
//! text for both databases; [`sql`] expands it per driver, so that parameters and rows are checked against both. On SQLite there is
//! one writer at a time; on PostgreSQL whoever decides about a subscriber's quota first takes [`Tx::lock_subscriber`].
//!
//! Times are whole microseconds, octets signed 64-bit integers, and what the tables may hold is said in `migrations/`.

mod bulk;
mod carry;
mod column;
mod gather;
mod sql;
mod sqlite;
mod tx;
mod working;

mod audit;
mod held;
mod login;
mod many;
mod meant;
mod overview;
mod plan;
mod quota;
mod record;
mod seal_check;
mod server;
mod session;
mod sessions;
mod site;
mod sms;
mod subscriber;
mod together;
mod under_way;
mod vendor;
mod voucher;

pub mod schema;

mod error;
mod look;
mod open;

pub use audit::{AuditRow, UnknownReport, UnknownRow};
pub use error::Error;
pub use gather::Wanted;
pub use login::{ChallengeRow, NewChallenge, TicketRow};
pub use look::Found;
pub use open::{Store, without_password};
pub use overview::{KeptOrder, OnlineRow, UnheardRow};
pub use plan::PlanRow;
pub use quota::{EntitlementRow, LeaseRow};
pub use server::Patience;
pub use session::{NewSession, OrderKind, SessionListing, SessionRow};
pub use sessions::{DueOrder, Heard};
pub use site::{NasProof, NasRow, NewNas, SiteRow};
pub use sms::{SmsFate, SmsRow};
pub use subscriber::{DeviceRow, SubscriberRow};
pub use tx::Tx;
pub use under_way::UnderWay;
pub use vendor::VendorRow;
pub use voucher::{NewVoucher, VoucherRow};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
