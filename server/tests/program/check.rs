//! `kavadam check` looks, and leaves no trace.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::desk::{Desk, text};

/// Somebody else than who runs the tests.
const OWNER: u32 = 4711;
const KEY: [u8; 32] = [7; 32];

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Every file, with whose it is, its mode and what is in it.
fn everything_in(dir: &Path) -> Vec<(String, u32, u32, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|file| file.unwrap())
        .map(|file| {
            let is = file.metadata().unwrap();
            let content = std::fs::read(file.path()).unwrap_or_default();
            (file.file_name().into_string().unwrap(), is.uid(), is.mode(), content)
        })
        .collect();
    found.sort();
    found
}

/// The state is another user's, as the service's is for root.
fn give_away(dir: &Path) {
    if is_root() {
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
        for path in files.chain([dir.to_owned()]) {
            chown(&path, Some(OWNER), Some(OWNER)).unwrap();
        }
    }
}

/// What `check` says about the database; nothing is otherwise afterwards.
fn checked(desk: &Desk, state: &Path) -> String {
    let before = everything_in(state);
    let said = text(&desk.run(&["check"]).stdout);
    assert!(everything_in(state) == before, "the check left a trace");
    let lines = said
        .lines()
        .filter(|line| line.contains("database") || line.contains("key"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_check_makes_nothing_where_nothing_is() {
    let desk = Desk::new();
    let state = desk.dir.path().join("state");
    assert!(
        checked(&desk, &state)
            .starts_with("ok       there is no database yet, or nothing in it: the first start makes it")
    );
    assert!(!state.exists());
}

#[test]
fn a_check_makes_no_database_for_a_key_that_is_there() {
    let desk = Desk::new();
    let state = desk.dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    desk.file("state/master.key", KEY);
    give_away(&state);
    assert!(checked(&desk, &state).starts_with("ok       there is no database yet"));
    desk.file("state/master.key", "half a key");
    give_away(&state);
    assert!(checked(&desk, &state).contains("it must hold 32 octets"));
}

#[test]
fn a_check_makes_no_database_where_its_url_points() {
    let desk = Desk::new();
    let state = desk.dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    give_away(&state);
    with_database(&desk, &format!("sqlite:{}?mode=rwc", state.join("new.db").display()));
    assert!(checked(&desk, &state).starts_with("ok       there is no database yet"));
}

#[test]
fn a_check_of_a_database_in_use_leaves_it_as_it_was() {
    let desk = Desk::new();
    let state = desk.dir.path().join("state");
    desk.done(&["plan", "set", "citizen"]);
    // As a stop leaves it; a command that ends leaves SQLite's journal.
    let written = Command::new("sqlite3")
        .arg(state.join("kavadam.db"))
        .arg("PRAGMA wal_checkpoint(TRUNCATE)")
        .output();
    assert!(written.unwrap().status.success());
    give_away(&state);
    assert!(checked(&desk, &state).starts_with("ok       the database answers, and the master key is its own"));
    std::fs::remove_file(state.join("master.key")).unwrap();
    assert!(checked(&desk, &state).contains("restore it from the back-up"));
}

fn psql(at: &str, text: &str) -> String {
    let done = Command::new("psql").args([at, "-qAtc", text]).output().unwrap();
    assert!(done.status.success(), "{text}");
    String::from_utf8(done.stdout).unwrap()
}

/// The address of a database of that name in the private server of `tests/postgres.sh`.
fn postgres(name: &str) -> (String, String) {
    let server = std::env::var("KAVADAM_TEST_POSTGRES")
        .expect("KAVADAM_TEST_POSTGRES is not set: run this as `tests/postgres.sh cargo test`, or `make test`");
    let url = server.replacen("/postgres?", &format!("/{name}?"), 1);
    (server, url)
}

fn with_database(desk: &Desk, url: &str) {
    let config = std::fs::read_to_string(desk.config()).unwrap();
    let own = config.split("[database]").next().unwrap_or_default();
    desk.file("kavadam.toml", format!("{own}[database]\nurl = \"{url}\"\n"));
}

#[test]
fn a_check_of_an_empty_postgresql_finds_nothing_amiss_and_makes_no_table() {
    let name = format!("checked_{}", std::process::id());
    let (server, url) = postgres(&name);
    psql(&server, &format!("CREATE DATABASE {name}"));
    let desk = Desk::new();
    with_database(&desk, &url);
    let state = desk.dir.path().join("state");

    let relations = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert!(checked(&desk, &state).starts_with("ok       there is no database yet"));
    assert_eq!(psql(&url, relations).trim(), "0");
    desk.done(&["plan", "set", "citizen"]);
    assert!(checked(&desk, &state).starts_with("ok       the database answers"));

    psql(&url, "UPDATE _sqlx_migrations SET checksum = ''");
    assert!(checked(&desk, &state).contains("another version of kavadam"));
    psql(&url, "UPDATE _sqlx_migrations SET version = 9999");
    for words in ["a newer version of kavadam", "restore the back-up"] {
        assert!(text(&desk.run(&["check"]).stdout).contains(words), "{words}");
        desk.refused(&["plan", "list"], 1, words);
    }
}

#[test]
fn a_database_that_does_not_open_is_told_once_with_its_remedy_and_without_its_password() {
    let desk = Desk::new();
    let (_, absent) = postgres("kavadam_is_not_there");
    let nowhere = "postgres://kavadam:s3cret@127.0.0.1:1/kavadam";
    for (url, what, remedy) in [
        (absent.as_str(), "does not exist", "createdb"),
        (
            nowhere,
            "postgres://…@127.0.0.1:1/kavadam: database: out of reach",
            "is it up",
        ),
        ("sqlite:/proc/kavadam/a.db", "/proc/kavadam/a.db", "make the directory"),
    ] {
        with_database(&desk, url);
        let said = text(&desk.run(&["plan", "list"]).stderr);
        assert!(said.contains(what) && said.contains(remedy), "{url}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
        for once in ["refused", "does not exist", "No such file"] {
            assert!(said.matches(once).count() <= 1, "{said}");
        }
        let checked = text(&desk.run(&["check"]).stdout);
        assert!(checked.contains(what) && checked.contains(remedy), "{url}: {checked}");
    }
    with_database(
        &desk,
        &format!("sqlite:{}", desk.file("none", "this is no database, whatever its name")),
    );
    desk.refused(&["plan", "list"], 1, "restore the back-up");
}

#[test]
fn a_check_tells_where_metrics_play_no_part() {
    let desk = Desk::new();
    let note = "metrics.listen plays no part here";
    let metrics = "[metrics]\nlisten = \"127.0.0.1:9464\"\n";
    let centre = std::fs::read_to_string(desk.config()).unwrap();
    desk.file("kavadam.toml", format!("{centre}{metrics}"));
    assert!(!text(&desk.run(&["check"]).stdout).contains(note));
    let gateway = centre.replace("\"centre\"", "\"gateway\"");
    desk.file("kavadam.toml", format!("{gateway}{metrics}"));
    let said = text(&desk.run(&["check"]).stdout);
    assert!(said.contains(note), "{said}");
}

#[test]
fn a_check_by_root_speaks_of_files_that_the_owner_of_the_state_cannot_read() {
    if !is_root() {
        return;
    }
    let desk = Desk::new();
    let (dir, state) = (desk.dir.path(), desk.dir.path().join("state"));
    std::fs::create_dir(&state).unwrap();
    give_away(&state);
    mode(dir, 0o755);
    let own = std::fs::read_to_string(desk.config()).unwrap();
    let own = own.split("[sms]").next().unwrap().to_owned();
    let password = desk.file("password", "a-password");
    std::fs::create_dir(dir.join("keys")).unwrap();
    desk.file("keys/secure", "a-key");
    // As certbot has it: a link in a closed directory that leads into another.
    std::fs::create_dir(dir.join("live")).unwrap();
    std::os::unix::fs::symlink("../keys/secure", dir.join("live/secure")).unwrap();
    let key = dir.join("live/secure");
    let sms = "route = \"mobile-seva\"\nusername = \"u\"\ntemplate_id_en = \"1\"\ntemplate_id_ml = \"2\"\n";
    let own = format!("{own}[radius]\nprofiles = \"{}\"\n", dir.join("profiles").display());
    let named = format!("{own}[sms]\n{sms}password_file = \"{password}\"\nsecure_key_file = {key:?}\n");
    std::fs::write(desk.config(), named).unwrap();
    mode(&desk.config(), 0o640);
    std::fs::create_dir(dir.join("profiles")).unwrap();
    mode(&dir.join("profiles"), 0o755);
    desk.file("profiles/dictionary.acme", "");
    mode(&dir.join("profiles/dictionary.acme"), 0o600);
    mode(&dir.join("keys"), 0o700);
    mode(&dir.join("live"), 0o700);

    // Each remedy is followed as it is told, until there is none.
    let mut told = Vec::new();
    for _ in 0..7 {
        let said = text(&desk.run(&["check"]).stdout);
        let mut lines = said
            .lines()
            .skip_while(|line| !line.contains("cannot be read by the user"));
        let Some(problem) = lines.next() else { break };
        told.push(problem.split(": ").next().unwrap().to_owned());
        let remedy = lines.next().unwrap().trim().strip_prefix("→ ").unwrap();
        let followed = Command::new("sh").args(["-c", remedy]).status().unwrap();
        assert!(followed.success(), "{remedy}");
    }
    let key = "PROBLEM  sms.secure_key_file";
    assert_eq!(
        told,
        [
            "PROBLEM  sms.password_file",
            key,
            key,
            key,
            "PROBLEM  radius.profiles",
            "PROBLEM  the configuration"
        ]
    );
    for file in ["password", "keys/secure", "kavadam.toml"] {
        let is = std::fs::metadata(dir.join(file)).unwrap();
        assert_eq!((is.uid(), is.gid(), is.mode() & 0o777), (0, OWNER, 0o640), "{file}");
    }
}

fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
