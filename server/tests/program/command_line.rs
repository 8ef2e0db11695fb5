//! The command line as an administrator types it, right and wrong, through the real program.

use crate::desk::{Desk, NUMBER, text};
use serde_json::Value;

#[test]
fn a_plan_is_made_shown_and_changed_only_where_told() {
    let desk = Desk::new();
    desk.done(&[
        "plan",
        "set",
        "student",
        "--quota",
        "2GB",
        "--period",
        "week",
        "--down",
        "5Mbit",
        "--up",
        "none",
        "--after-quota",
        "throttle:256kbit",
    ]);
    let made = desk.json(&["plan", "show", "student"]);
    assert_eq!(made["quota_octets"], 2_000_000_000_u64);
    desk.done(&["plan", "set", "student", "--quota", "3GB"]);
    let changed = desk.json(&["plan", "show", "student"]);
    assert_eq!(changed["quota_octets"], 3_000_000_000_u64);
    let without_quota = |mut plan: Value| {
        plan.as_object_mut().unwrap().remove("quota_octets");
        plan
    };
    assert_eq!(without_quota(changed), without_quota(made), "nothing else changed");
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_and_nothing_changes() {
    let desk = Desk::new();
    desk.done(&["plan", "set", "student", "--quota", "2GB"]);
    let before = desk.json(&["plan", "list"]);
    for (words, says) in [
        (["--quota", "lots"].as_slice(), "write it like 300MB or 1GB"),
        (&["--quota=-1GB"], "write it like"),
        (&["--quota", "1.5GB"], "write it like"),
        (&["--quota", "99999999999999999999GB"], "write it like"),
        (&["--quota", "18446744073709551615TB"], "write it like"),
        (&["--quota", ""], "write it like"),
        (&["--down", "10"], "write it like 512kbit"),
        (&["--session-time", "4"], "write it like 10m"),
        (&["--period", "year"], "possible values"),
        (&["--after-quota", "throttle"], "throttle:SPEED"),
        (&["--after-quota", "throttle:"], "write it like"),
        (&["--devices", "4294967296"], "4294967296"),
        (&["--what", "is this"], "unexpected argument"),
    ] {
        desk.refused(&[&["plan", "set", "student"], words].concat(), 2, says);
    }
    for (words, says) in [
        (["--time-zone", "Asia/Trivandrum"], "use an IANA name"),
        (["--time-zone", "../../etc/passwd"], "use an IANA name"),
        (["--devices", "0"], "--devices: 1 to 100\n"),
        (["--devices", "101"], "--devices: 1 to 100\n"),
        (["--down", "0kbit"], "--down: 8kbit to 4Gbit, or none\n"),
        (["--up", "5Gbit"], "--up: 8kbit to 4Gbit, or none\n"),
        (["--after-quota", "throttle:1kbit"], "--after-quota: throttle:8kbit to"),
        (["--session-time", "0s"], "--session-time: 1m to 365d, or none\n"),
        (["--idle-time", "2d"], "--idle-time: 30s to 1d, or none\n"),
        (["--remember", "367d"], "--remember: 0d to 366d\n"),
        (["--quota", "0B"], "--quota: 1MiB to 1152921TB, or none\n"),
    ] {
        desk.refused(&[&["plan", "set", "student"], words.as_slice()].concat(), 1, says);
    }
    for name in [
        "",
        "Two Words",
        "'; DROP TABLE plan; --",
        "a\u{202e}b",
        &"x".repeat(1000),
    ] {
        desk.refused(&["plan", "set", name], 1, "kavadam: ");
    }
    assert_eq!(desk.json(&["plan", "list"]), before);
}

#[test]
fn what_is_not_there_is_named_with_a_code_of_its_own() {
    let desk = Desk::new();
    desk.refused(&["plan", "show", "gold"], 3, "there is no plan `gold`");
    desk.refused(&["session", "show", "99"], 3, "there is no session");
    desk.refused(&["session", "end", "99"], 3, "there is no session");
    desk.refused(
        &["subscriber", "show", NUMBER],
        3,
        "there is no subscriber `xxxxxx3210`",
    );
    desk.refused(&["subscriber", "top-up", NUMBER, "1GB"], 3, "there is no subscriber");
    desk.refused(&["subscriber", "unenrol", NUMBER], 3, "there is no subscriber");
    desk.refused(
        &["site", "set", "Stand", "--plan", "gold"],
        3,
        "there is no plan `gold`",
    );
    assert_eq!(desk.json(&["site", "list"]), Value::Array(vec![]));
}

#[test]
fn numbers_that_are_none_are_refused() {
    let desk = Desk::new();
    for number in [
        "",
        "12345",
        "98765432101234",
        "abcdefghij",
        "+15551234567",
        "9876543210; rm",
        "\u{0}",
    ] {
        if number.contains('\0') {
            continue;
        }
        let output = desk.run(&["subscriber", "show", number]);
        assert_eq!(output.status.code(), Some(2), "{number}");
    }
    assert_eq!(desk.run(&["session", "show", "-1"]).status.code(), Some(2));
    assert_eq!(
        desk.run(&["session", "show", "99999999999999999999"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_gate_needs_secrets_worth_the_name() {
    let desk = Desk::new();
    desk.done(&["plan", "set", "student"]);
    desk.done(&["site", "set", "Stand", "--plan", "student"]);
    let (good, short) = (
        desk.file("good", "a-secret-of-thirty-two-octets-xx"),
        desk.file("short", "short"),
    );
    let set = |name: &str, source: &str, secret: &str| {
        let words = [
            "nas",
            "set",
            name,
            "--site",
            "Stand",
            "--source",
            source,
            "--secret-file",
            secret,
        ];
        desk.run(&[&words, ["--uam-secret-file", good.as_str()].as_slice()].concat())
    };
    for (name, source, secret) in [
        ("gate-1", "10.7.0.2/32", short.as_str()),
        ("gate-1", "10.7.0.2/32", "/nowhere"),
        ("gate-1", "10.7.0.2/99", &good),
        ("gate-1", "everywhere", &good),
        ("", "10.7.0.2/32", &good),
    ] {
        let refused = set(name, source, secret);
        assert!(!refused.status.success(), "{name} {source} {secret}");
        assert!(!text(&refused.stderr).contains("a-secret-of"), "no secret is shown");
    }
    assert_eq!(desk.json(&["nas", "list"]), Value::Array(vec![]));
    assert!(set("gate-1", "10.7.0.2/32", &good).status.success());
    let list = desk.done(&["nas", "list"]) + &desk.json(&["nas", "list"]).to_string();
    assert!(list.contains("gate-1") && !list.contains("a-secret-of"), "{list}");
    assert_eq!(desk.json(&["nas", "list"])[0]["is_renewing"], false);
    let database = std::fs::read(desk.dir.path().join("state/kavadam.db")).unwrap();
    let log = std::fs::read(desk.dir.path().join("state/kavadam.db-wal")).unwrap_or_default();
    assert!(
        !text(&database).contains("a-secret-of") && !text(&log).contains("a-secret-of"),
        "sealed on disk"
    );
}

#[test]
fn a_gate_takes_no_orders_at_port_0_and_no_exception_that_is_past() {
    let desk = Desk::new();
    for (words, says) in [
        (["--coa-port", "0"], "1..=65535"),
        (
            ["--old-secret-until", "2020-01-31"],
            "is past: to end it at once write now",
        ),
        (["--no-message-authenticator-until", "2020-01-31"], "is past"),
        (["--no-message-authenticator-until", "0d"], "is past"),
    ] {
        desk.refused(&[&["nas", "set", "gate-1"], words.as_slice()].concat(), 2, says);
    }
}

#[test]
fn a_voucher_code_is_shown_once_and_a_foolish_order_makes_none() {
    let desk = Desk::new();
    for words in [
        [].as_slice(),
        &["--octets", "0B"],
        &["--plan", "nobody's"],
        &["--octets", "1GB", "--count", "0"],
        &["--octets", "1GB", "--count", "4000000000"],
        &["--octets", "1GB", "--expires", "0s"],
    ] {
        let refused = desk.run(&[&["voucher", "create"], words].concat());
        assert!(!refused.status.success() && !refused.stderr.is_empty(), "{words:?}");
    }
    assert_eq!(desk.json(&["voucher", "list"]), Value::Array(vec![]));
    let codes = desk.done(&[
        "voucher",
        "create",
        "--octets",
        "1GB",
        "--count",
        "3",
        "--label",
        "counter 2",
    ]);
    let codes: Vec<&str> = codes.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(codes.len(), 3, "{codes:?}");
    let list = desk.json(&["voucher", "list", "--label", "counter 2"]);
    assert_eq!(list.as_array().unwrap().len(), 3);
    for code in codes {
        assert!(!list.to_string().contains(code.trim()), "listed without codes");
    }
}

#[test]
fn an_authenticator_is_enrolled_and_its_key_is_nowhere_in_clear() {
    let desk = Desk::new();
    desk.done(&["plan", "set", "citizen"]);
    desk.done(&["site", "set", "Stand", "--plan", "citizen"]);
    let shown = desk.done(&["subscriber", "enrol", NUMBER]);
    assert!(!shown.contains(NUMBER), "masked");
    let key: String = shown.lines().rev().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(key.len(), 32, "{key}");
    assert_eq!(desk.json(&["subscriber", "show", NUMBER])["has_authenticator"], true);
    let secret = data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap();
    for file in ["state/kavadam.db", "state/kavadam.db-wal"] {
        let content = std::fs::read(desk.dir.path().join(file)).unwrap_or_default();
        assert!(!content.windows(secret.len()).any(|part| part == secret), "{file}");
    }
    desk.done(&["subscriber", "unenrol", NUMBER]);
    assert_eq!(desk.json(&["subscriber", "show", NUMBER])["has_authenticator"], false);
}

#[test]
fn a_wrong_configuration_is_told_at_once_and_in_full() {
    let desk = Desk::with("role = \"king\"\ncolour = \"blue\"\n[sms]\nurl = \"ftp://x\"\n");
    desk.refused(&["plan", "list"], 78, "cannot be used");
    let output = desk.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("PROBLEM"), "{}", text(&output.stdout));
    for garbage in [
        b"\xff\xfe\x00".as_slice(),
        b"[[[[[[",
        b"state_dir = 5",
        &vec![b'['; 100_000],
        b"",
    ] {
        std::fs::write(desk.config(), garbage).unwrap();
        let said = desk.run(&["check"]);
        assert!(!text(&said.stderr).contains("panicked"), "{}", text(&said.stderr));
        if !garbage.is_empty() {
            assert_eq!(said.status.code(), Some(1), "{:?}", garbage.first());
        }
    }
    std::fs::remove_file(desk.config()).unwrap();
    desk.refused(&["plan", "list"], 78, "kavadam.toml");
}

#[test]
fn a_gate_alone_keeps_no_plans() {
    let desk = Desk::new();
    let (secret, state) = (desk.file("secret", "a-secret-of-thirty-two-octets-xx"), desk.dir.path());
    let config = format!(
        "role = \"gateway\"\nstate_dir = \"{}/state\"\n[gateway]\nportal_url = \"http://portal.example\"\n\
         uam_secret_file = \"{secret}\"\nradius.secret_file = \"{secret}\"\n",
        state.display()
    );
    std::fs::write(desk.config(), config).unwrap();
    desk.refused(&["plan", "list"], 1, "no centre");
}

#[test]
fn every_command_teaches() {
    let desk = Desk::new();
    let pages = desk.dir.path().join("man");
    desk.done(&["man", &pages.display().to_string()]);
    let mut commands = 0;
    for page in std::fs::read_dir(&pages).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        let words: Vec<&str> = name.strip_suffix(".1").unwrap().split('-').skip(1).collect();
        if words.contains(&"help") {
            continue;
        }
        commands += 1;
        // Names of commands hold dashes, too.
        let joined = words.join("-");
        let words: Vec<String> = match joined.as_str() {
            "example-config" => vec![joined],
            "lease-event" => continue,
            _ if joined.ends_with("top-up") => vec!["subscriber".into(), "top-up".into()],
            _ => words.iter().map(|&word| word.to_owned()).collect(),
        };
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push("--help");
        let help = desk.done(&words);
        assert!(
            help.contains("Usage:") && !help.starts_with("Usage:"),
            "{words:?} says nothing of what it does: {help}"
        );
        let nouns = ["plan", "site", "nas", "subscriber", "session", "voucher", "audit"];
        if words.len() == 3 && nouns.contains(&words[0]) {
            let examples = ["Example", "Examples"].map(|head| format!("{head}:\n  kavadam {} {}", words[0], words[1]));
            assert!(
                examples.iter().any(|example| help.contains(example)),
                "{words:?} gives no example: {help}"
            );
        }
    }
    assert!(commands > 40, "{commands}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(desk.done(&["completions", shell]).contains("kavadam"));
    }
    assert!(desk.done(&["example-config"]).contains("state_dir"));
}
