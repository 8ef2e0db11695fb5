//! FreeRADIUS as Debian packages it, with what its own comments tell an administrator to do: the SQL module enabled, with its schema as it
//! is and a group for the plan; a daily counter, of octets in place of seconds; the gates as clients. Everything else stays as it came, but
//! on SQLite, where it would refuse people under load for the locks of others: there it writes a log ahead, waits long enough for a lock,
//! and has fewer threads to wait.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use kavadam_lab::netns::{Netns, Process};

use super::peer::{SHIPPED, address_of, counter, dialect, log_of};
use super::sql::Database;
use super::world::{SECRET, wait_for_port, write_secret};

const PACKAGE: &str = "/etc/freeradius/3.0";

/// Fills the database and starts the server in the namespace.
pub fn start(netns: &Netns, dir: &Path, database: &Database, devices: u32) -> anyhow::Result<Process> {
    write_secret(dir)?;
    let config = dir.join("raddb");
    let copied = Command::new("cp").args(["-a", PACKAGE]).arg(&config).status();
    ensure!(
        copied.context("cannot run cp")?.success(),
        "cannot copy {PACKAGE} (Debian: freeradius)"
    );
    configure(&config, dir, database)?;
    let schema = format!("{SHIPPED}/{}/schema.sql", dialect(database));
    let schema = fs::read_to_string(&schema)
        .with_context(|| format!("cannot read {schema} (Debian: freeradius, freeradius-postgresql)"))?;
    database.run(dir, &schema)?;
    if matches!(database, Database::Sqlite(_)) {
        database.run(dir, "PRAGMA journal_mode = WAL;\n")?;
    }
    database.load(dir, &population_of(database, devices))?;
    database.settle(dir)?;
    let words = ["-f", "-d", &config.display().to_string(), "-D", "/usr/share/freeradius"];
    let server = netns.start(&dir.join("said.log"), "freeradius", &words)?;
    wait_for_port(netns, 1812).with_context(|| format!("FreeRADIUS does not start: {}", log_of(dir)))?;
    Ok(server)
}

/// The least that its comments ask for, and what a private place needs.
fn configure(config: &Path, dir: &Path, database: &Database) -> anyhow::Result<()> {
    let dialect = dialect(database);
    let here = dir.display();
    edit(
        &config.join("radiusd.conf"),
        &[
            ("\nlogdir = /var/log/freeradius\n", &format!("\nlogdir = {here}\n")),
            (
                "\nrun_dir = ${localstatedir}/run/${name}\n",
                &format!("\nrun_dir = {here}\n"),
            ),
            ("\n\tuser = freerad\n", "\n"),
            ("\n\tgroup = freerad\n", "\n"),
            // Room for every request of the last 5 seconds: at 3,300/s the packaged bound would drop them.
            ("\nmax_requests = 16384\n", "\nmax_requests = 262144\n"),
        ],
    )?;
    if matches!(database, Database::Sqlite(_)) {
        edit(
            &config.join("radiusd.conf"),
            &[
                ("\n\tstart_servers = 5\n", "\n\tstart_servers = 4\n"),
                ("\n\tmax_servers = 32\n", "\n\tmax_servers = 4\n"),
                ("\n\tmin_spare_servers = 3\n", "\n\tmin_spare_servers = 1\n"),
                ("\n\tmax_spare_servers = 10\n", "\n\tmax_spare_servers = 4\n"),
            ],
        )?;
    }
    let sql = config.join("mods-enabled/sql");
    fs::copy(config.join("mods-available/sql"), &sql)?;
    edit(
        &sql,
        &[
            ("\n\tdialect = \"sqlite\"\n", &format!("\n\tdialect = \"{dialect}\"\n")),
            (
                "\n\tdriver = \"rlm_sql_null\"\n",
                "\n\tdriver = \"rlm_sql_${dialect}\"\n",
            ),
            ("\t\tbusy_timeout = 200\n", "\t\tbusy_timeout = 5000\n"),
            (
                "\t\tfilename = \"/tmp/freeradius.db\"\n",
                &format!("\t\tfilename = \"{}\"\n", file_of(database, dir)),
            ),
            (
                "\n\tradius_db = \"radius\"\n",
                &format!("\n\tradius_db = \"{}\"\n", address_of(database)),
            ),
        ],
    )?;
    let counter = format!(
        "sqlcounter dailyoctets {{\n\tsql_module_instance = sql\n\tdialect = ${{modules.sql.dialect}}\n\tcounter_name = Daily-Octets\n\
         \tcheck_name = Max-Daily-Octets\n\treply_name = ChilliSpot-Max-Total-Octets\n\tkey = User-Name\n\treset = daily\n\
         \tquery = \"{}\"\n}}\n",
        counter(database)
    );
    fs::write(config.join("mods-enabled/dailyoctets"), counter)?;
    edit(
        &config.join("sites-available/default"),
        &[("\n\tlogintime\n", "\n\tlogintime\n\tdailyoctets\n")],
    )?;
    let clients = config.join("clients.conf");
    let gates = format!("\nclient gates {{\n\tipaddr = 127.1.0.0/16\n\tsecret = {SECRET}\n}}\n");
    fs::write(&clients, fs::read_to_string(&clients)? + &gates)?;
    Ok(())
}

/// Where SQLite keeps it; on PostgreSQL the line is not read.
fn file_of(database: &Database, dir: &Path) -> String {
    match database {
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres { .. } => dir.join("unused.db").display().to_string(),
    }
}

/// Each text is there once, or the package is not the one this was written for.
fn edit(path: &Path, changes: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (before, after) in changes {
        ensure!(
            text.matches(before).count() == 1,
            "{} is not as Debian 12 packages it: {before:?}",
            path.display()
        );
        text = text.replace(before, after);
    }
    Ok(fs::write(path, text)?)
}

/// Everybody with a password, in a group that is the plan. Sessions come by their first reports.
fn population_of(database: &Database, devices: u32) -> String {
    let (numbers, mac) = (database.numbers(devices), database.mac_of_n());
    let reply = |name: &str, value: u32| {
        format!(
            "INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES ('citizen', '{name}', ':=', '{value}');\n"
        )
    };
    let replies = [
        ("Session-Timeout", 14_400),
        ("Idle-Timeout", 600),
        ("Acct-Interim-Interval", 300),
        ("WISPr-Bandwidth-Max-Down", 10_000_000),
        ("WISPr-Bandwidth-Max-Up", 10_000_000),
    ];
    let replies: String = replies.map(|(name, value)| reply(name, value)).concat();
    format!(
        "INSERT INTO radcheck (username, attribute, op, value) SELECT {mac}, 'Cleartext-Password', ':=', {mac} FROM {numbers};
         INSERT INTO radusergroup (username, groupname, priority) SELECT {mac}, 'citizen', 1 FROM {numbers};
         INSERT INTO radgroupcheck (groupname, attribute, op, value) VALUES ('citizen', 'Max-Daily-Octets', ':=', '3000000000');
         {replies}"
    )
}
