//! Kavadam under test: the real binary as a centre, with gates made by its own commands and subscribers by SQL.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;
use kavadam_lab::netns::{Netns, Process, sh};

use super::sql::Database;
use super::target::Gates;
use super::world::{wait_for_port, write_secret};

/// Begins the Class of every session loaded; the device's number follows.
pub const CLASS: &[u8; 12] = b"loadtest\0\0\0\x01";
const PLAN_ZONE: &str = "Asia/Kolkata";
/// More than anybody uses up here.
const QUOTA_OCTETS: u64 = 1_000_000_000_000;

/// How the generator speaks to it, beside addresses and numbers.
pub fn arguments() -> Vec<String> {
    vec!["--class".into(), HEXLOWER.encode(CLASS)]
}

/// Fills the database and starts the server in the namespace.
pub fn start(
    program: &Path,
    netns: &Netns,
    dir: &Path,
    database: &Database,
    (gates, devices): (Gates, u32),
) -> anyhow::Result<Process> {
    let config = configure(dir, database)?;
    let program = program.display().to_string();
    // The first start makes the tables and the master key; the command does the same as `run` would.
    let say = |words: &[&str]| sh(&program, &[&["-c", config.as_str()], words].concat()).map(drop);
    let plan = "plan set citizen --quota 1TB --period day --down 10Mbit --up 10Mbit --session-time 4h --idle-time 10m --devices 2 \
                --remember 14d --after-quota close";
    let mut server = netns.start(&dir.join("kavadam.log"), &program, &["-c", &config, "run"])?;
    wait_for_port(netns, 1812).context("kavadam does not start: see kavadam.log")?;
    server.terminate()?;
    say(&plan.split_whitespace().collect::<Vec<_>>())?;
    let secret = dir.join("secret").display().to_string();
    // One more than devices are at: the flood comes from there.
    for gate in 0..=gates.count {
        let (name, site) = (format!("gate-{gate}"), format!("site-{gate}"));
        let source = format!("{}/32", gates.address(usize::try_from(gate)?));
        say(&["site", "set", &site, "--plan", "citizen"])?;
        let place = ["nas", "set", &name, "--site", &site, "--source", &source];
        say(&[&place[..], &["--secret-file", &secret, "--uam-secret-file", &secret]].concat())?;
    }
    database.load(dir, &population_of(database, gates.count, devices)?)?;
    database.settle(dir)?;
    let server = netns.start(&dir.join("kavadam.log"), &program, &["-c", &config, "run"])?;
    wait_for_port(netns, 1812).context("kavadam does not start: see kavadam.log")?;
    Ok(server)
}

fn configure(dir: &Path, database: &Database) -> anyhow::Result<String> {
    let state = dir.join("state").display().to_string();
    let config = format!(
        "role = \"centre\"\nstate_dir = \"{state}\"\n[database]\nurl = \"{url}\"\n[log]\nlevel = \"warn\"\n\
         [sms]\nroute = \"log-nothing\"\n[portal]\nlisten = \"127.0.0.1:8081\"\npublic_url = \"http://127.0.0.1:8081\"\n\
         [radius]\nauth_listen = \"0.0.0.0:1812\"\nacct_listen = \"0.0.0.0:1813\"\n",
        url = database.url()
    );
    let path = dir.join("kavadam.toml");
    fs::write(&path, config)?;
    write_secret(dir)?;
    Ok(path.display().to_string())
}

/// Everybody with a remembered device, and an open session of it at its gate.
pub fn population_of(database: &Database, gates: u32, devices: u32) -> anyhow::Result<String> {
    let now = jiff::Timestamp::now();
    let zone = TimeZone::get(PLAN_ZONE)?;
    let today = now.to_zoned_datetime(zone.clone()).date();
    let begin =
        |date: jiff::civil::Date| anyhow::Ok(date.to_zoned_datetime(zone.clone())?.timestamp().as_microsecond());
    let (start, end) = (begin(today)?, begin(today.tomorrow()?)?);
    let now = now.as_microsecond();
    let hours = |count: i64| now + count * 3_600_000_000;
    let (remembered, ends, heard) = (hours(14 * 24), hours(4), hours(2));
    let numbers = database.numbers(devices);
    let mac = database.blob_of_n(&[0x02, 0x4C]);
    // A Class ends with the session's identifier.
    let class = database.blob_of_n(CLASS);
    let id = "4294967296 + (((n >> 21) & 127) << 24) + (((n >> 14) & 127) << 16) + (((n >> 7) & 127) << 8) + (n & 127)";
    let hex = database.hex_of_n();
    let granted = QUOTA_OCTETS / 2;
    let plan = "(SELECT id FROM plan WHERE name = 'citizen')";
    let address = "'10.' || ((n >> 16) & 255) || '.' || ((n >> 8) & 255) || '.' || (n & 255)";
    // Heard of "later": nobody is to be swept away as silent before the generator comes to them.
    let mut work = format!(
        "INSERT INTO subscriber (id, number, alias, language, created_at)
            SELECT n + 1, '' || (7000000000 + n), 'load-' || n, 'en', {now} FROM {numbers};
         INSERT INTO device (id, subscriber_id, mac, remembered_until, last_seen_at)
            SELECT n + 1, n + 1, {mac}, {remembered}, {now} FROM {numbers};
         INSERT INTO entitlement (id, subscriber_id, plan_id, window_start, window_end)
            SELECT n + 1, n + 1, {plan}, {start}, {end} FROM {numbers};
         INSERT INTO lease (id, subscriber_id, entitlement_id, nas_id, is_shared, granted_octets)
            SELECT n + 1, n + 1, n + 1, nas.id, FALSE, {granted} FROM {numbers} JOIN nas ON nas.name = 'gate-' || (n % {gates});
         INSERT INTO session (id, class, subscriber_id, entitlement_id, lease_id, nas_id, site_id, acct_session_id, mac, ip, state,
                is_renewable, is_throttled, granted_at, started_at, heard_at, ends_at, granted_octets)
            SELECT {id}, {class}, n + 1, n + 1, n + 1, nas.id, nas.site_id, {hex} || '0000', {mac}, {address}, 'open',
                FALSE, FALSE, {now}, {now}, {heard}, {ends}, {granted} FROM {numbers} JOIN nas ON nas.name = 'gate-' || (n % {gates});\n"
    );
    if matches!(database, Database::Postgres { .. }) {
        for table in ["subscriber", "device", "entitlement", "lease", "session"] {
            writeln!(
                work,
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT MAX(id) FROM {table}));"
            )?;
        }
    }
    Ok(work)
}
