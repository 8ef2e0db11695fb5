//! What the workspace depends on: explained, licensed as allowed, and without what is banned.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use toml::Table;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

fn table(name: &str) -> Table {
    read(name).parse().unwrap()
}

/// Whether an SPDX expression is satisfied by these licences: `OR` binds least, and `/` is its old form.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "OR" if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        let part = parts.last_mut().unwrap();
        part.push_str(word);
        part.push(' ');
    }
    parts.iter().any(|part| {
        // What is left is a chain of `AND`, in which an inner choice stands in brackets.
        let part = part.trim();
        match part.strip_prefix("( ") {
            Some(inner) => {
                let (inner, rest) = inner.split_once(" )").unwrap();
                let rest = rest.trim().strip_prefix("AND ");
                is_allowed(inner, allowed) && rest.is_none_or(|rest| is_allowed(rest, allowed))
            }
            None => match part.split_once(" AND ") {
                Some((one, rest)) => is_allowed(one, allowed) && is_allowed(rest, allowed),
                None => allowed.contains(&part),
            },
        }
    })
}

#[test]
fn reads_licence_expressions() {
    let allowed = ["MIT", "ISC"];
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "MIT AND ISC",
        "(MIT OR GPL-3.0) AND ISC",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "Apache-2.0/GPL-3.0",
        "",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn each_dependency_is_explained() {
    let (manifest, page) = (table("Cargo.toml"), read("docs/dependencies.md"));
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    let unnamed: Vec<&String> = dependencies
        .keys()
        .filter(|name| !name.starts_with("kavadam-") && !page.contains(&format!("`{name}`")))
        .collect();
    assert!(unnamed.is_empty(), "docs/dependencies.md says nothing of {unnamed:?}");
}

#[test]
fn each_dependency_is_used() {
    let manifest = table("Cargo.toml");
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let manifests: Vec<String> = members
        .iter()
        .map(|member| read(&format!("{}/Cargo.toml", member.as_str().unwrap())))
        .collect();
    let is_used = |name: &str| {
        let names = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.']));
        manifests.iter().any(|text| text.lines().any(names))
    };
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    let unused: Vec<&String> = dependencies.keys().filter(|name| !is_used(name)).collect();
    assert!(unused.is_empty(), "nobody uses {unused:?}");
}

#[test]
fn each_licence_is_allowed() {
    let deny = table("deny.toml");
    let allowed = deny["licenses"]["allow"].as_array().unwrap();
    let allowed: Vec<&str> = allowed.iter().map(|licence| licence.as_str().unwrap()).collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "this looks in the wrong place");
    let refused: Vec<String> = packages
        .iter()
        .map(|package| (&package["name"], package["license"].as_str().unwrap_or_default()))
        .filter(|(_, licence)| !is_allowed(licence, &allowed))
        .map(|(name, licence)| format!("{name}: {licence}"))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn nothing_banned_comes_in() {
    let (deny, lock) = (table("deny.toml"), read("Cargo.lock"));
    for banned in deny["bans"]["deny"].as_array().unwrap() {
        let name = banned["crate"].as_str().unwrap();
        assert!(
            !lock.contains(&format!("name = \"{name}\"\n")),
            "{name} is in Cargo.lock"
        );
    }
}
