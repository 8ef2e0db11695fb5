//! What commands say of what they did, and of what they cannot do.

use crate::desk::Desk;
use crate::nouns::furnished;

#[test]
fn what_a_lot_is_called_that_is_not_there_is_told_with_the_code_for_it() {
    let desk = furnished();
    desk.refused(&["voucher", "end", "--label", "nope"], 3, "no lot of vouchers `nope`");
    desk.done(&["voucher", "create", "--octets", "1GB", "--label", "counter 2"]);
    for ended in ["1 vouchers", "0 vouchers"] {
        let said = desk.done(&["voucher", "end", "--label", "counter 2"]);
        assert!(said.starts_with(ended), "{said}");
    }
}

#[test]
fn where_there_is_no_gate_only_to_close_it_succeeds() {
    let desk = Desk::new();
    for words in [
        ["gate", "show"].as_slice(),
        &["gate", "rules"],
        &["gate", "top", "--once"],
        &["gate", "trace", "02:00:00:00:00:01"],
    ] {
        desk.refused(words, 1, "no gateway");
    }
    desk.done(&["gate", "close"]);
}

#[test]
fn what_is_set_is_said_to_be_made_or_changed() {
    let desk = furnished();
    let secret = desk.file("another", "another-secret-of-thirty-two-oct");
    let gate = [
        "nas",
        "set",
        "gate-2",
        "--site",
        "Stand",
        "--source",
        "10.7.0.3",
        "--secret-file",
        &secret,
    ];
    for (words, what) in [
        (["plan", "set", "pupils"].as_slice(), "plan pupils"),
        (&["site", "set", "Jetty", "--plan", "citizen"], "site Jetty"),
        (&[&gate[..], &["--uam-secret-file", &secret]].concat(), "gate gate-2"),
    ] {
        for done in ["made", "changed"] {
            let said = desk.done(words);
            assert!(said.starts_with(&format!("{what} is {done}\n")), "{said}");
        }
        assert_eq!(desk.json(words)["is_new"], false);
    }
    assert_eq!(desk.json(&["plan", "set", "more"])["is_new"], true);
}

#[test]
fn what_a_new_thing_needs_is_told_with_the_way_to_it() {
    let desk = furnished();
    desk.refused(
        &["site", "set", "Jetty", "--closed"],
        1,
        "there is no site `Jetty` yet, and a new one needs --plan",
    );
    desk.refused(
        &["nas", "set", "gate-2"],
        1,
        "there is no gate `gate-2` yet, and a new one needs --site",
    );
    desk.refused(
        &["nas", "set", "gate-1", "--site", "Jetty"],
        3,
        "`kavadam site set NAME --plan PLAN` makes one",
    );
    desk.refused(
        &["site", "set", "Stand", "--plan", "gold"],
        3,
        "`kavadam plan set NAME` makes one",
    );
    desk.refused(
        &["nas", "show", "gate-2"],
        3,
        "there is no gate `gate-2`: `kavadam nas list` names",
    );
}

#[test]
fn the_help_tells_what_a_new_plan_is() {
    let desk = Desk::new();
    let help = desk.done(&["plan", "set", "--help"]);
    let plan = desk.json(&["plan", "set", "bare"]);
    assert_eq!(
        (&plan["max_devices"], &plan["idle_secs"], &plan["remembered_days"]),
        (&1.into(), &600.into(), &14.into())
    );
    let words: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for flag in [
        "at once, 1 to 100 [new plans: 1]",
        "[new plans: 10m]",
        "[new plans: 14d]",
        "[new plans: day]",
    ] {
        assert!(words.contains(flag), "{flag} is not in\n{help}");
    }
}

#[test]
fn a_mistyped_word_is_told_by_what_would_be_right() {
    let desk = Desk::new();
    for (words, says) in [
        (
            ["session", "behind", "[::1]:5"].as_slice(),
            "write it like 198.51.100.2:5321",
        ),
        (
            &["radius", "test", "--server", "localhost:1812"],
            "write it like 192.0.2.5:1812",
        ),
        (&["session", "show", "12x"], "`12x` is no number such as 4711"),
        (&["voucher", "end", "12x"], "`12x` is no number such as 4711"),
    ] {
        desk.refused(words, 2, says);
    }
    desk.refused(&["man", "/proc/x"], 1, "cannot write manual pages into /proc/x");
    desk.file("kavadam.toml", b"\xff\xfe");
    desk.refused(&["plan", "list"], 78, "is no text in UTF-8");
    let usage = desk.done(&["subscriber", "plan", "--help"]);
    assert!(
        usage.contains("subscriber plan [OPTIONS] <NUMBER> --default"),
        "{usage}"
    );
}

#[test]
fn a_paragraph_of_help_is_wrapped_by_width_alone() {
    let help = Desk::new().done(&["advertise", "--help"]);
    let told = &help[help.find("Prefixes are").unwrap()..];
    for paragraph in told.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        for pair in lines.windows(2) {
            let next = pair[1].split_whitespace().next().unwrap_or_default();
            assert!(pair[0].len() + 1 + next.len() > 100, "`{}` is torn in\n{help}", pair[0]);
        }
    }
}
