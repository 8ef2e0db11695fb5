//! What every noun of the command line has in common: list, show, set and end, for people and for programs.

use crate::desk::{Desk, NUMBER, text};
use serde_json::Value;

/// A site with a gate, and a person who was never online.
pub fn furnished() -> Desk {
    let desk = Desk::new();
    desk.done(&["plan", "set", "citizen", "--quota", "1GB"]);
    desk.done(&["site", "set", "Stand", "--plan", "citizen"]);
    let secret = desk.file("secret", "a-secret-of-thirty-two-octets-xx");
    desk.done(&[
        "nas",
        "set",
        "gate-1",
        "--site",
        "Stand",
        "--source",
        "10.7.0.2/32",
        "--secret-file",
        &secret,
        "--uam-secret-file",
        &secret,
    ]);
    desk.done(&["subscriber", "unblock", NUMBER]);
    desk
}

fn keys(value: &Value) -> Vec<String> {
    let thing = value.as_array().map_or(value, |list| &list[0]);
    let mut keys: Vec<String> = thing.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

#[test]
fn a_list_and_the_thing_itself_have_the_same_keys() {
    let desk = furnished();
    desk.done(&["voucher", "create", "--octets", "1GB"]);
    for (noun, name) in [
        ("plan", "citizen"),
        ("site", "Stand"),
        ("nas", "gate-1"),
        ("voucher", "1"),
    ] {
        assert_eq!(
            keys(&desk.json(&[noun, "list"])),
            keys(&desk.json(&[noun, "show", name])),
            "{noun}"
        );
    }
    let site = desk.json(&["site", "show", "Stand"]);
    assert_eq!(site["nases"], serde_json::json!(["gate-1"]));
    assert_eq!(desk.json(&["session", "list"]), Value::Array(vec![]));
}

#[test]
fn a_list_for_people_has_heads_above_its_columns() {
    let desk = furnished();
    desk.done(&["voucher", "create", "--octets", "1GB"]);
    for (words, head) in [
        (["plan", "list"], "PLAN"),
        (["site", "list"], "SITE"),
        (["nas", "list"], "GATE"),
        (["subscriber", "list"], "NUMBER"),
        (["session", "list"], "ID"),
        (["voucher", "list"], "ID"),
        (["audit", "list"], "WHEN"),
    ] {
        let said = desk.done(&words);
        assert!(said.starts_with(head), "{said}");
    }
    let said = desk.done(&["plan", "list"]);
    let (heads, row) = said.split_once('\n').unwrap();
    assert_eq!(heads.find("QUOTA"), row.find("1 GB a day"), "{said}");
}

#[test]
fn what_is_changed_is_printed_as_it_is_afterwards() {
    let desk = furnished();
    assert_eq!(
        desk.json(&["plan", "set", "citizen", "--devices", "7"])["max_devices"],
        7
    );
    assert_eq!(desk.json(&["site", "set", "Stand", "--closed"])["is_open"], false);
    desk.done(&["plan", "set", "other"]);
    let site = desk.json(&["site", "set", "Stand", "--plan", "other"]);
    assert_eq!(
        (&site["is_open"], &site["plan"]),
        (&false.into(), &"other".into()),
        "still closed"
    );
    assert_eq!(desk.json(&["site", "set", "Stand", "--open"])["is_open"], true);
    let nas = desk.json(&["nas", "set", "gate-1", "--coa-port", "1700"]);
    let tied = desk.json(&["nas", "set", "gate-1", "--certificate-name", "Gate-1.example.org"]);
    assert_eq!(
        (&tied["certificate_name"], &tied["coa_port"]),
        (&"gate-1.example.org".into(), &1700.into())
    );
    let untied = desk.json(&["nas", "set", "gate-1", "--certificate-name", "none"]);
    assert!(untied["certificate_name"].is_null());
    assert_eq!(
        (&nas["coa_port"], &nas["source"]),
        (&1700.into(), &"10.7.0.2/32".into()),
        "the rest as it was"
    );
    assert_eq!(desk.json(&["subscriber", "block", NUMBER])["is_blocked"], true);
    assert_eq!(desk.json(&["subscriber", "unblock", NUMBER])["is_blocked"], false);
    assert_eq!(desk.json(&["subscriber", "plan", NUMBER, "other"])["plan"], "other");
    let person = desk.json(&["subscriber", "top-up", NUMBER, "5MB"]);
    assert_eq!(person["topped_up_octets"], 5_000_000);
    assert_eq!(desk.json(&["subscriber", "end", NUMBER])["number"], "xxxxxx3210");
    assert_eq!(
        desk.json(&["subscriber", "enrol", NUMBER])["key"]
            .as_str()
            .unwrap()
            .len(),
        32
    );
    assert_eq!(
        desk.json(&["subscriber", "unenrol", NUMBER])["has_authenticator"],
        false
    );
    let made = desk.json(&["voucher", "create", "--octets", "1GB", "--label", "lot"]);
    assert_eq!(made[0]["code"].as_str().unwrap().len(), 12);
    assert_eq!(desk.json(&["voucher", "end", "--label", "lot"])[0]["state"], "expired");
    desk.done(&["plan", "set", "pupil", "--quota", "500MB"]);
    desk.done(&[
        "voucher", "create", "--octets", "1GB", "--plan", "pupil", "--label", "better",
    ]);
    let lot = desk.json(&["voucher", "list", "--label", "better"]);
    assert_eq!(
        (&lot[0]["plan"], &lot[0]["octets"]),
        (&"pupil".into(), &1_000_000_000.into())
    );
    let shown = desk.done(&["voucher", "list"]);
    assert!(shown.contains("1 GB, the plan pupil"), "{shown}");
    desk.refused(&["plan", "end", "pupil"], 1, "voucher");
}

#[test]
fn a_gates_exceptions_have_dates_that_are_shown_and_nagged_about() {
    let desk = furnished();
    let next = desk.file("next", "another-secret-of-thirty-two-oct");
    let except = |date| desk.json(&["nas", "set", "gate-1", "--no-message-authenticator-until", date]);
    let check = || text(&desk.run(&["check"]).stdout);
    assert!(!check().contains("gate-1"));
    let nas = except("14d");
    assert!(nas["no_message_authenticator_until"].as_i64().unwrap() > 1_700_000_000);
    let said = check();
    assert!(
        said.contains("note     the gate `gate-1` may do without Message-Authenticator until 20"),
        "{said}"
    );
    let shown = desk.done(&["nas", "show", "gate-1"]);
    assert!(shown.contains("without Message-Authenticator  until 20"), "{shown}");
    desk.refused(
        &["nas", "set", "gate-1", "--no-message-authenticator-until", "2999-01-01"],
        1,
        "within a year",
    );
    assert_eq!(except("now")["no_message_authenticator_until"], Value::Null);
    desk.refused(
        &["nas", "set", "gate-1", "--old-secret-until", "2d"],
        1,
        "no old secret",
    );
    let change = [
        "nas",
        "set",
        "gate-1",
        "--secret-file",
        &next,
        "--old-secret-until",
        "2d",
    ];
    assert!(desk.json(&change)["old_secret_until"].is_i64());
    assert!(check().contains("the old secret of the gate `gate-1` is valid until 20"));
    let ended = desk.json(&["nas", "set", "gate-1", "--old-secret-until", "now"]);
    assert_eq!(ended["old_secret_until"], Value::Null);
    let audit = desk.done(&["audit", "list"]);
    assert!(audit.contains("old secret valid no → until 20"), "{audit}");
}

#[test]
fn what_is_needed_is_not_ended_and_what_ended_is_gone() {
    let desk = furnished();
    desk.refused(&["plan", "end", "citizen"], 1, "site `Stand`");
    desk.refused(&["site", "end", "Stand"], 1, "gate `gate-1`");
    assert_eq!(desk.json(&["nas", "end", "gate-1"])["is_ended"], true);
    assert_eq!(desk.json(&["site", "end", "Stand"])["is_ended"], true);
    desk.done(&["subscriber", "plan", NUMBER, "citizen"]);
    desk.refused(&["plan", "end", "citizen"], 1, "own plan of 1 subscribers");
    desk.done(&["subscriber", "plan", NUMBER, "--default"]);
    assert_eq!(desk.json(&["plan", "end", "citizen"])["is_ended"], true);
    for noun in ["plan", "site", "nas"] {
        assert_eq!(desk.json(&[noun, "list"]), Value::Array(vec![]));
    }
    desk.refused(&["nas", "show", "gate-1"], 3, "there is no gate `gate-1`");
    desk.refused(&["site", "end", "Stand"], 3, "there is no site `Stand`");
    desk.refused(&["plan", "end", "citizen"], 3, "there is no plan `citizen`");
}

#[test]
fn a_gate_that_is_refused_in_part_is_left_as_it_was() {
    let desk = furnished();
    let (first, next) = ("another-secret-of-thirty-two-oct", "one-more-secret-of-thirty-two-oc");
    let (first, next) = (desk.file("first", first), desk.file("next", next));
    let place = [
        "--site",
        "Stand",
        "--source",
        "10.7.0.3/32",
        "--uam-secret-file",
        &first,
    ];
    let made = [&["nas", "set", "gate-2", "--secret-file", &first], &place[..]].concat();
    // A new gate is not there with half of what was asked for.
    let far = ["--no-message-authenticator-until", "2999-01-01"];
    desk.refused(&[&made[..], &far].concat(), 1, "within a year");
    desk.refused(&["nas", "show", "gate-2"], 3, "there is no gate `gate-2`");
    desk.done(&["nas", "set", "gate-1", "--certificate-name", "gate-1.example.org"]);
    let tied = ["--certificate-name", "gate-1.example.org"];
    desk.refused(&[&made[..], &tied].concat(), 1, "the gate `gate-1`'s");
    desk.refused(&["nas", "show", "gate-2"], 3, "there is no gate `gate-2`");
    desk.done(&made);
    let before = desk.json(&["audit", "list"]);
    let change = ["nas", "set", "gate-2", "--secret-file", &next, "--coa-port", "1700"];
    desk.refused(&[&change[..], &tied].concat(), 1, "the gate `gate-1`'s");
    assert_eq!(desk.json(&["audit", "list"]), before, "nothing was done");
    assert_eq!(desk.json(&["nas", "show", "gate-2"])["coa_port"], 3799);
    let own = [
        "--certificate-name",
        "gate-2.example.org",
        "--no-message-authenticator-until",
        "14d",
    ];
    let changed = desk.json(&[&change[..], &own].concat());
    assert_eq!(
        (&changed["coa_port"], &changed["certificate_name"]),
        (&1700.into(), &"gate-2.example.org".into())
    );
}

#[test]
fn a_gate_may_not_take_anothers_source() {
    let desk = furnished();
    let secret = desk.file("secret", "a-secret-of-thirty-two-octets-xx");
    let mut words = vec!["nas", "set", "gate-2", "--site", "Stand", "--source", "10.7.0.2/32"];
    desk.refused(&words, 1, "and a new one needs");
    words.extend(["--secret-file", &secret, "--uam-secret-file", &secret]);
    desk.refused(&words, 1, "gate `gate-1`");
}

#[test]
fn a_number_is_never_printed_in_full_and_every_act_is_on_record() {
    let desk = furnished();
    desk.done(&["subscriber", "block", NUMBER]);
    let mut said = String::new();
    for words in [
        ["subscriber", "list"].as_slice(),
        &["subscriber", "show", NUMBER],
        &["audit", "list"],
    ] {
        said += &desk.done(words);
        said += &desk.json(words).to_string();
    }
    assert!(said.contains("xxxxxx3210") && !said.contains(NUMBER), "{said}");
    let acts = desk.json(&["audit", "list", "--most", "2"]);
    let actions: Vec<_> = acts
        .as_array()
        .unwrap()
        .iter()
        .map(|act| act["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["subscriber.block", "subscriber.unblock"], "the newest first");
}

#[test]
fn a_voucher_is_shown_and_ended_by_its_number() {
    let desk = furnished();
    desk.done(&[
        "voucher",
        "create",
        "--octets",
        "1GB",
        "--count",
        "2",
        "--expires",
        "30d",
    ]);
    assert_eq!(desk.json(&["voucher", "show", "2"])["state"], "unused");
    desk.done(&["voucher", "end", "2"]);
    assert_eq!(desk.json(&["voucher", "show", "2"])["state"], "expired");
    assert_eq!(desk.json(&["voucher", "show", "1"])["state"], "unused");
    desk.refused(&["voucher", "show", "9"], 3, "there is no voucher `9`");
    desk.refused(&["voucher", "end", "9"], 3, "there is no voucher `9`");
    desk.refused(&["voucher", "end"], 2, "required");
}
