//! FreeRADIUS under test: Debian's package with its own SQL module, queries and schema, given the index its counter needs.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use kavadam_lab::netns::{Netns, Process};

use super::sql::Database;
use super::target::Gates;
use super::world::{SECRET, wait_for_port, write_secret};

const CONFIG: &str = include_str!("peer.conf");
/// Where the package keeps its schemas.
pub const SHIPPED: &str = "/etc/freeradius/3.0/mods-config/sql/main";
/// On SQLite there is one writer at a time: more threads would only wait for each other's locks, in sleeps of milliseconds.
const THREADS_SQLITE: u32 = 4;
const THREADS_POSTGRES: u32 = 32;
/// Which its schema says may go where they are not needed; each costs at every report.
const NOT_NEEDED: [&str; 8] = [
    "framedipaddress",
    "framedipv6address",
    "framedipv6prefix",
    "framedinterfaceid",
    "delegatedipv6prefix",
    "acctsessiontime",
    "acctinterval",
    "class",
];

/// Fills the database and starts the server in the namespace.
pub fn start(
    netns: &Netns,
    dir: &Path,
    database: &Database,
    (gates, devices): (Gates, u32),
) -> anyhow::Result<Process> {
    write_secret(dir)?;
    configure(dir, database)?;
    let dialect = dialect(database);
    let schema = format!("{SHIPPED}/{dialect}/schema.sql");
    let schema = fs::read_to_string(&schema)
        .with_context(|| format!("cannot read {schema} (Debian: freeradius, freeradius-postgresql)"))?;
    database.run(dir, &schema)?;
    database.run(dir, &adapted(database))?;
    database.load(dir, &population_of(database, gates, devices))?;
    database.settle(dir)?;
    let words = ["-f", "-d", &dir.display().to_string(), "-D", "/usr/share/freeradius"];
    let server = netns.start(&dir.join("said.log"), "freeradius", &words)?;
    wait_for_port(netns, 1812).with_context(|| format!("FreeRADIUS does not start: {}", log_of(dir)))?;
    Ok(server)
}

/// What it wrote down, or said.
pub fn log_of(dir: &Path) -> String {
    ["freeradius.log", "radius.log", "said.log"]
        .map(|name| fs::read_to_string(dir.join(name)).unwrap_or_default())
        .concat()
}

/// As it calls the database.
pub const fn dialect(database: &Database) -> &'static str {
    match database {
        Database::Sqlite(_) => "sqlite",
        Database::Postgres { .. } => "postgresql",
    }
}

fn configure(dir: &Path, database: &Database) -> anyhow::Result<()> {
    let threads = match database {
        Database::Sqlite(_) => THREADS_SQLITE,
        Database::Postgres { .. } => THREADS_POSTGRES,
    };
    let config = CONFIG
        .replace("@DIR@", &dir.display().to_string())
        .replace("@SECRET@", SECRET)
        .replace("@DIALECT@", dialect(database))
        .replace("@DATABASE@", &address_of(database))
        .replace("@THREADS@", &threads.to_string())
        .replace("@COUNTER@", &counter(database));
    // It asks for one; its counter makes the attributes it needs itself.
    fs::write(dir.join("dictionary"), "")?;
    Ok(fs::write(dir.join("radiusd.conf"), config)?)
}

/// As its SQL module takes it.
pub fn address_of(database: &Database) -> String {
    match database {
        Database::Sqlite(_) => "radius".to_owned(),
        Database::Postgres { host, user, name } => format!("host={} user={user} dbname={name}", host.display()),
    }
}

/// The query of a daily octet counter.
pub fn counter(database: &Database) -> String {
    let day = match database {
        Database::Sqlite(_) => "%%b",
        Database::Postgres { .. } => "TO_TIMESTAMP(%%b)",
    };
    format!(
        "SELECT COALESCE(SUM(acctinputoctets + acctoutputoctets), 0) FROM radacct WHERE username = '%{{${{key}}}}' AND acctstarttime \
         >= {day}"
    )
}

/// What a careful administrator would do to the shipped schema for this use.
fn adapted(database: &Database) -> String {
    let counted = "CREATE INDEX radacct_of_user ON radacct (username, acctstarttime);\n";
    match database {
        Database::Sqlite(_) => {
            let dropped = NOT_NEEDED.map(|name| format!("DROP INDEX {name};\n")).concat();
            format!("PRAGMA journal_mode = WAL;\nDROP INDEX username;\n{dropped}{counted}")
        }
        Database::Postgres { .. } => {
            format!("DROP INDEX radacct_start_user_idx;\nDROP INDEX radacct_calss_idx;\n{counted}")
        }
    }
}

/// Everybody with a password and an open session.
fn population_of(database: &Database, gates: Gates, devices: u32) -> String {
    let numbers = database.numbers(devices);
    let (mac, hex) = (database.mac_of_n(), database.hex_of_n());
    let first = u32::from(gates.address(0));
    let gate = format!("({first} + (n % {}))", gates.count);
    let address = |number: &str| {
        let octet = |shift| format!("(({number} >> {shift}) & 255)");
        [24, 16, 8, 0].map(octet).join(" || '.' || ")
    };
    let (gate, framed) = (address(&gate), address("((10 << 24) + (n & 16777215))"));
    let (now, inet) = match database {
        Database::Sqlite(_) => ("CAST(strftime('%s', 'now') AS INTEGER)", ""),
        Database::Postgres { .. } => ("now()", "::inet"),
    };
    format!(
        "INSERT INTO radcheck (username, attribute, op, value) SELECT {mac}, 'Cleartext-Password', ':=', {mac} FROM {numbers};
         INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, nasportid, nasporttype, acctstarttime,
                acctupdatetime, acctsessiontime, acctinputoctets, acctoutputoctets, calledstationid, callingstationid,
                framedipaddress)
            SELECT {hex} || '0000', {hex} || '0000', {mac}, ({gate}){inet}, '' || n, 'Wireless-802.11', {now},
                {now}, 0, 0, 0, '02-00-5E-00-53-01:Public Wi-Fi', {mac}, ({framed}){inet} FROM {numbers};\n"
    )
}
