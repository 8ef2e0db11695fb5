//! What goes wrong with a database, in words for whoever runs it.

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

/// What the database could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no database we know.
    #[error("database URL `{0}`: expected sqlite:/path/to/file or postgres://user@host/name")]
    Url(String),
    /// The database file cannot be made.
    #[error("{path}: {problem}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        problem: std::io::Error,
    },
    /// A newer version made its tables, with a change of them that this one does not know.
    #[error("this database is of a newer version of kavadam: it knows the change {0} of the tables")]
    Newer(i64),
    /// A change of its tables is not the one that this version makes.
    #[error("this database is of another version of kavadam: its change {0} of the tables is a different one")]
    Changed(i64),
    /// The schema cannot be brought up to date.
    #[error("the tables cannot be brought up to date: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// A transaction that only reads was asked to change something.
    #[error("a transaction that only reads cannot change anything")]
    ReadOnly,
    /// A gate has a live session of that Acct-Session-Id already.
    #[error("the gate has a live session of that Acct-Session-Id")]
    NameTaken,
    /// What was remembered is out of date, or at odds with what is there: nothing was done. To be decided anew in a transaction that is
    /// [begun](crate::Tx::begin) at once.
    #[error("what was remembered is out of date")]
    Stale,
    /// A statement failed, or the database is out of reach.
    #[error("database: {}", told(.0))]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
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

    /// Whether another transaction held somebody for longer than it was waited for (`lock_not_available`).
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(inner)) if is_held(&**inner))
    }

    /// Whether something of that unique name or key is there already.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::NameTaken => true,
            Self::Database(sqlx::Error::Database(inner)) => inner.is_unique_violation(),
            _ => false,
        }
    }

    /// What whoever runs the database can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::Database(sqlx::Error::Configuration(_)) => "correct database.url",
            Self::File { problem, .. } if problem.kind() == std::io::ErrorKind::PermissionDenied => {
                "run this as root, or as the user that kavadam runs as"
            }
            Self::File { .. } => "make the directory, and give it and the file to the user that kavadam runs as",
            Self::Newer(_) => "install the version that made it, or restore the back-up of before",
            Self::Changed(_) => "install the version that made it",
            Self::Database(sqlx::Error::Database(inner)) => remedy_by_code(inner.code().as_deref().unwrap_or_default()),
            Self::Database(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_)) => {
                "is it up, and does database.url reach it (address, port, a firewall on the way)?"
            }
            _ => "look at its own log",
        }
    }
}

/// See [`Error::is_held`].
pub(crate) fn is_held(error: &dyn DatabaseError) -> bool {
    error.code().as_deref() == Some("55P03")
}

/// PostgreSQL's codes have five characters; of SQLite's the lowest octet says what it is.
fn remedy_by_code(code: &str) -> &'static str {
    match (code, code.parse::<u32>().unwrap_or_default() & 0xff) {
        ("3D000", _) => "make it: createdb -O USER NAME",
        ("28000" | "28P01", _) => "correct the user or the password in database.url, or the server's pg_hba.conf",
        ("42501", _) => "make it the user's own: ALTER DATABASE NAME OWNER TO USER",
        _ if code.len() == 5 => "look at the server's log",
        (_, 8 | 14 | 23) => "give the file and its directory to the user that kavadam runs as",
        (_, 5 | 6) => "another program holds it: end that",
        (_, 13) => "make room on the disk",
        (_, 11 | 26) => "it is damaged, or none of ours: restore the back-up",
        _ => "look at the disk",
    }
}

/// Each thing once: the library's own texts repeat their causes.
fn told(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => inner.message().to_owned(),
        sqlx::Error::Io(error) => format!("out of reach: {error}"),
        sqlx::Error::PoolTimedOut => "out of reach: there was no connection in time".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_error_says_each_thing_once_and_what_to_do() {
        let away = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = Error::from(sqlx::Error::Io(away));
        assert_eq!(error.to_string(), "database: out of reach: connection refused");
        assert!(error.source().is_none(), "a chain would tell it again");
        assert!(error.remedy().contains("is it up"), "{}", error.remedy());
        assert!(Error::Newer(7).remedy().contains("back-up"));
        for (code, says) in [
            ("3D000", "createdb"),
            ("28P01", "password"),
            ("42501", "OWNER"),
            ("08006", "log"),
            ("14", "directory"),
            ("1544", "directory"),
            ("13", "room"),
            ("26", "back-up"),
        ] {
            assert!(remedy_by_code(code).contains(says), "{code}");
        }
    }
}
