//! The crate boundaries of docs/architecture.md, as tests. If a change needs an arrow the wrong way, the design is speaking.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kavadam_architecture::packages;

/// Who may know whom. `server` may know everybody.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("domain", &[]),
    ("store", &["domain"]),
    ("access", &["domain", "store"]),
    ("portal", &["domain", "access"]),
    ("radius", &["domain", "access"]),
    ("firewall", &["domain"]),
    ("gateway", &["domain", "firewall", "radius"]),
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
    for (name, package) in packages().unwrap() {
        let speaks = package.foreign.contains("sqlx");
        assert!(
            !speaks || ["store", "gateway"].contains(&name.as_str()),
            "{name} must not know sqlx"
        );
    }
}

#[test]
fn the_packet_filter_is_spoken_to_by_the_firewall_alone() {
    for (name, package) in packages().unwrap() {
        let speaks = package.foreign.contains("nftables");
        assert!(!speaks || name == "firewall", "{name} must not know nftables");
        // The gateway looks neighbours up in the kernel's table; it changes nothing there.
        let speaks = package.foreign.contains("netlink-sys");
        assert!(
            !speaks || ["firewall", "gateway"].contains(&name.as_str()),
            "{name} must not know netlink"
        );
    }
}

#[test]
fn the_radius_codec_has_one_importer() {
    for (name, package) in packages().unwrap() {
        assert!(
            !package.foreign.contains("radius") || name == "radius",
            "{name} must not know the codec"
        );
    }
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
    let files = fs::read_dir(root().join(folder).join("src")).unwrap();
    let paths = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let read: Vec<_> = paths
        .map(|p| (p.display().to_string(), fs::read_to_string(&p).unwrap()))
        .collect();
    assert!(
        !read.is_empty(),
        "{folder} has no source: this test looks in the wrong place"
    );
    read
}
