//! The only SQL: SQLite and PostgreSQL behind one set of functions.
//!
//! A use case takes a [`Tx`] from [`Store::write`] (or [`Store::read`]), calls functions on it, and commits. Each statement has one
//! text for both databases; [`sql`] expands it per driver, so that parameters and rows are checked against both. On SQLite there is
//! one writer at a time; on PostgreSQL whoever decides about a subscriber's quota first takes [`Tx::lock_subscriber`].
//!
//! Times are whole microseconds, octets signed 64-bit integers, and what the tables may hold is said in `migrations/`.

use sqlx::migrate::MigrateError;

mod bulk;
mod carry;
mod column;
mod gather;
mod sql;
mod sqlite;
mod tx;
mod working;

mod audit;
mod login;
mod many;
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
mod vendor;
mod voucher;

pub mod schema;

mod look;
mod open;

pub use audit::{AuditRow, UnknownReport};
pub use gather::Wanted;
pub use login::{ChallengeRow, NewChallenge, TicketRow};
pub use look::Found;
pub use open::Store;
pub use overview::OnlineRow;
pub use plan::PlanRow;
pub use quota::{EntitlementRow, LeaseRow};
pub use server::Patience;
pub use session::{NewSession, OrderKind, SessionListing, SessionRow};
pub use sessions::{DueOrder, Heard};
pub use site::{NasProof, NasRow, NewNas, SiteRow};
pub use sms::{SmsFate, SmsRow};
pub use subscriber::{DeviceRow, SubscriberRow};
pub use tx::Tx;
pub use vendor::VendorRow;
pub use voucher::{NewVoucher, VoucherRow};

/// What the database could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no database we know.
    #[error("database URL `{0}`: expected sqlite:/path/to/file or postgres://user@host/name")]
    Url(String),
    /// The database file cannot be made.
    #[error("database file {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A newer version made its tables, with a change of them that this one does not know.
    #[error("this database is of a newer version of kavadam: it knows the change {0} of the tables")]
    Newer(i64),
    /// A change of its tables is not the one that this version makes.
    #[error("this database is of another version of kavadam: its change {0} of the tables is a different one")]
    Changed(i64),
    /// The schema cannot be brought up to date.
    #[error("database migration: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// A transaction that only reads was asked to change something.
    #[error("a transaction that only reads cannot change anything")]
    ReadOnly,
    /// What was remembered is out of date, or at odds with what is there: nothing was done. To be decided anew in a transaction that is
    /// [begun](Tx::begin) at once.
    #[error("what was remembered is out of date")]
    Stale,
    /// A statement failed, or the database is out of reach.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(version) => Self::Newer(version),
            MigrateError::VersionMismatch(version) => Self::Changed(version),
            MigrateError::Execute(error) => Self::Database(error),
            error => Self::Migration(error),
        }
    }
}

impl Error {
    /// Whether the database did not answer in time, or had no connection free in time: asked again at once, it would not either.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::PoolTimedOut) => true,
            Self::Database(sqlx::Error::Io(error)) => error.kind() == std::io::ErrorKind::TimedOut,
            _ => false,
        }
    }

    /// Whether something of that unique name or key is there already.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(inner)) if inner.is_unique_violation())
    }
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
