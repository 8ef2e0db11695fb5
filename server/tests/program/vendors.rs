//! Vendors' gates on the command line: chosen by name, extended from a directory, and told apart when something is wrong.

use crate::desk::{Desk, text};

/// A site, and a gate of a vendor.
fn with_gate(desk: &Desk, vendor: &str) {
    desk.done(&["plan", "set", "citizen"]);
    desk.done(&["site", "set", "Stand", "--plan", "citizen"]);
    let secret = desk.file("secret", "a-secret-of-thirty-two-octets-xx");
    let place = ["nas", "set", "gate-1", "--site", "Stand", "--source", "10.7.0.2/32"];
    let secrets = [
        "--secret-file",
        &secret,
        "--uam-secret-file",
        &secret,
        "--vendor",
        vendor,
    ];
    desk.done(&[place.as_slice(), &secrets].concat());
}

/// A desk whose configuration names a directory with these files.
fn with_files(files: &[(&str, &str)]) -> Desk {
    let desk = Desk::new();
    let directory = desk.dir.path().join("radius.d");
    std::fs::create_dir(&directory).unwrap();
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
    let config = std::fs::read_to_string(desk.config()).unwrap();
    let section = format!("{config}[radius]\nprofiles = \"{}\"\n", directory.display());
    std::fs::write(desk.config(), section).unwrap();
    desk
}

#[test]
fn a_gate_is_one_of_its_vendor_and_says_what_it_cannot() {
    let desk = Desk::new();
    with_gate(&desk, "cisco");
    let gate = desk.json(&["nas", "show", "gate-1"]);
    assert_eq!(
        (gate["vendor"].as_str(), gate["coa_port"].as_u64()),
        (Some("cisco"), Some(1700))
    );
    let sheet = desk.done(&["nas", "show", "gate-1"]);
    assert!(sheet.contains("port 1700 or 3799"), "{sheet}");
    assert!(
        sheet.contains("hold a quota: it is cut when its reports show that"),
        "{sheet}"
    );
    desk.done(&[
        "nas",
        "set",
        "gate-1",
        "--vendor",
        "meraki",
        "--coa-host",
        "n1.meraki.example",
    ]);
    assert_eq!(desk.json(&["nas", "show", "gate-1"])["coa_host"], "n1.meraki.example");
    let sheet = desk.done(&["nas", "show", "gate-1"]);
    assert!(sheet.contains("n1.meraki.example, port 1700\n"), "kept: {sheet}");
    desk.done(&["nas", "set", "gate-1", "--coa-host", ""]);
    assert!(desk.json(&["nas", "show", "gate-1"])["coa_host"].is_null());
    desk.refused(
        &["nas", "set", "gate-1", "--vendor", "nobody"],
        1,
        "use one of aruba, cambium",
    );
    desk.refused(&["nas", "set", "gate-1", "--renews"], 1, "renews no leases");
}

#[test]
fn every_vendor_is_listed_with_what_it_can_be_held_to() {
    let desk = Desk::new();
    let list = desk.done(&["nas", "vendors"]);
    assert!(list.starts_with("VENDOR"), "{list}");
    let vendors = desk.json(&["nas", "vendors"]);
    let of = |name: &str| {
        vendors
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(vendors.as_array().unwrap().len(), 13);
    assert_eq!(of("kavadam")["octets"], "any time");
    assert_eq!(
        (of("mikrotik")["octets"].as_str(), of("mikrotik")["rate"].as_str()),
        (Some("at login"), Some("any time"))
    );
    assert_eq!(
        (of("aruba")["octets"].as_str(), of("aruba")["is_cut"].as_bool()),
        (Some("no"), Some(true))
    );
    assert_eq!(of("pfsense")["is_cut"], false);
    let ports = serde_json::json!([1700, 3799]);
    assert_eq!(
        (&of("cisco")["coa_ports"], &of("cisco")["coa_port"]),
        (&ports, &ports[0])
    );
}

#[test]
fn a_built_in_file_is_the_beginning_of_ones_own() {
    let printed = Desk::new().done(&["nas", "vendors", "--print", "mikrotik"]);
    let own = printed.replace("name = \"mikrotik\"", "name = \"mikrotik-pppoe\"");
    let desk = with_files(&[("pppoe.toml", &own)]);
    with_gate(&desk, "mikrotik-pppoe");
    assert_eq!(desk.json(&["nas", "show", "gate-1"])["vendor"], "mikrotik-pppoe");
    desk.refused(&["nas", "vendors", "--print", "nothing"], 1, "dictionary.mikrotik");
}

#[test]
fn a_directory_with_mistakes_is_refused_with_every_file_and_line() {
    let desk = with_files(&[
        ("dictionary.acme", "VENDOR Acme 4711\nATRIBUTE Acme-X 1 string\n"),
        (
            "acme.toml",
            "name = \"acme\"\ntitle = \"Acme\"\n[limits]\nsession_secs = { attribute = \"Acme-Y\" }\n",
        ),
    ]);
    desk.refused(
        &["nas", "list"],
        78,
        "radius.profiles: dictionary.acme:2: `ATRIBUTE` is no keyword",
    );
    desk.refused(
        &["nas", "list"],
        78,
        "radius.profiles: acme.toml:4: no dictionary knows `Acme-Y`",
    );
    let checked = desk.run(&["check"]);
    assert!(
        text(&checked.stdout).contains("dictionary.acme:2"),
        "{}",
        text(&checked.stdout)
    );
}

#[test]
fn a_check_tells_of_gates_whose_vendor_is_lost_or_that_cannot_be_cut() {
    let own = Desk::new()
        .done(&["nas", "vendors", "--print", "omada"])
        .replace("name = \"omada\"", "name = \"mine\"");
    let desk = with_files(&[("mine.toml", &own)]);
    with_gate(&desk, "mine");
    let said = |desk: &Desk| text(&desk.run(&["check"]).stdout);
    assert!(
        said(&desk).contains("`gate-1` (mine) takes no order to end a session"),
        "{}",
        said(&desk)
    );
    std::fs::remove_file(desk.dir.path().join("radius.d/mine.toml")).unwrap();
    assert!(
        said(&desk).contains("`gate-1` is of the vendor `mine`, of whom there is no profile"),
        "{}",
        said(&desk)
    );
    assert!(desk.done(&["nas", "show", "gate-1"]).contains("by the RFCs alone"));
}
