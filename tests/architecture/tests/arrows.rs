//! The crate boundaries of docs/architecture.md, as tests. If a change needs an arrow the wrong way, the design is speaking.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kavadam_architecture::{Package, packages};

/// Who may know whom. `server` may know everybody.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("sockets", &[]),
    ("domain", &[]),
    ("store", &["domain"]),
    ("access", &["domain", "store"]),
    ("portal", &["domain", "access", "sockets"]),
    ("radius", &["domain", "access", "sockets"]),
    ("firewall", &["domain"]),
    ("gateway", &["domain", "firewall", "radius", "sockets"]),
];

#[test]
fn every_arrow_between_the_crates_points_inwards() {
    let packages = packages().unwrap();
    for (name, allowed) in ALLOWED {
        let known: BTreeSet<&str> = packages[name].ours.keys().map(String::as_str).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let wrong: Vec<_> = known.difference(&allowed).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn nobody_passes_the_use_cases_by() {
    for (name, package) in shipped() {
        let may = ["access", "server"].contains(&name.as_str());
        assert!(
            may || !package.ours.contains_key("store"),
            "{name} must reach the store through access alone"
        );
    }
}

#[test]
fn the_gateway_takes_only_the_client_half_of_radius() {
    let packages = packages().unwrap();
    let features = &packages["gateway"].ours["radius"];
    assert!(
        features.contains("client") && !features.contains("server"),
        "{features:?}"
    );
    assert!(
        !packages["gateway"].ours.contains_key("access"),
        "a gateway never touches the centre's database"
    );
}

#[test]
fn sql_is_spoken_by_the_store_and_the_gateways_own_spool_alone() {
    known_to("sqlx", &["store", "gateway"]);
    // Within the gateway, by the one file that is the spool.
    let speaking: Vec<String> = sources("gateway")
        .into_iter()
        .filter(|(_, text)| text.contains("sqlx::"))
        .map(|(file, _)| file)
        .collect();
    let is_spool = |file: &String| file.ends_with("/spool.rs") || file.contains("/spool/");
    assert!(
        !speaking.is_empty() && speaking.iter().all(is_spool),
        "only the spool may speak SQL: {speaking:?}"
    );
}

#[test]
fn the_packet_filter_is_spoken_to_by_the_firewall_alone() {
    known_to("nftables", &["firewall"]);
    // The gateway looks neighbours up in the kernel's table; it changes nothing there.
    for (name, package) in packages().unwrap() {
        let speaking = package.foreign.iter().filter(|known| known.contains("netlink"));
        let may = ["firewall", "gateway"].contains(&name.as_str());
        let speaking: Vec<_> = speaking.collect();
        assert!(may || speaking.is_empty(), "{name} must not know {speaking:?}");
    }
}

#[test]
fn the_radius_codec_has_one_importer() {
    known_to("radius", &["radius"]);
}

#[test]
fn errors_without_a_type_are_for_the_binary_alone() {
    // A library's errors are its callers' to match.
    for (name, package) in shipped() {
        let has = package.foreign.contains("anyhow");
        assert_eq!(has, name == "server", "{name} and anyhow");
    }
}

/// This foreign package has these users and no others, and they do use it.
fn known_to(foreign: &str, users: &[&str]) {
    let packages = packages().unwrap();
    let knowing: BTreeSet<&str> = packages
        .iter()
        .filter(|(_, package)| package.foreign.contains(foreign))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(knowing, users.iter().copied().collect(), "who knows {foreign}");
}

/// Packages that are not of `tests/`.
fn shipped() -> BTreeMap<String, Package> {
    let mut packages = packages().unwrap();
    packages.retain(|_, package| !package.folder.starts_with("tests/"));
    assert!(packages.len() > ALLOWED.len(), "this test looks in the wrong place");
    packages
}

#[test]
fn the_domain_has_neither_io_nor_clock_nor_chance() {
    let packages = packages().unwrap();
    for forbidden in ["tokio", "sqlx", "rand", "reqwest", "axum", "tracing"] {
        assert!(
            !packages["domain"].foreign.contains(forbidden),
            "domain must not know {forbidden}"
        );
    }
    for word in [
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "std::fs",
        "std::net::Tcp",
        "std::env",
    ] {
        for (file, text) in sources("domain") {
            assert!(!text.contains(word), "{file} must not use {word}");
        }
    }
}

#[test]
fn every_package_lives_by_the_workspace_lints() {
    for (name, package) in packages().unwrap() {
        let manifest = fs::read_to_string(root().join(&package.folder).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} does not inherit the lints"
        );
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let mut read = Vec::new();
    let mut folders = vec![root().join(folder).join("src")];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                read.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(
        !read.is_empty(),
        "{folder} has no source: this test looks in the wrong place"
    );
    read
}
