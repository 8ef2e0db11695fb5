//! What `cargo metadata` says of the workspace, in a form a test can reason about.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// One package of the workspace.
#[derive(Debug, Default)]
pub struct Package {
    /// Its folder, relative to the workspace.
    pub folder: String,
    /// Our own packages it depends on for building (not for its tests), each with the features it asks for.
    pub ours: BTreeMap<String, BTreeSet<String>>,
    /// Other packages it depends on for building.
    pub foreign: BTreeSet<String>,
}

/// Every package of the workspace by name without the `kavadam-` before it.
///
/// # Errors
/// A sentence, if cargo cannot be run or says something unexpected.
pub fn packages() -> Result<BTreeMap<String, Package>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|error| format!("cargo metadata did not run: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let root = text(&metadata, "workspace_root");
    let list = metadata
        .get("packages")
        .and_then(Value::as_array)
        .ok_or("no packages")?;
    Ok(list
        .iter()
        .map(|package| (short(&text(package, "name")), read(package, &root)))
        .collect())
}

fn read(package: &Value, root: &str) -> Package {
    let manifest = text(package, "manifest_path");
    let folder = manifest
        .trim_end_matches("/Cargo.toml")
        .trim_start_matches(root)
        .trim_matches('/');
    let mut found = Package {
        folder: folder.to_owned(),
        ..Package::default()
    };
    let dependencies = package.get("dependencies").and_then(Value::as_array);
    for dependency in dependencies.into_iter().flatten() {
        if text(dependency, "kind") == "dev" {
            continue;
        }
        let name = text(dependency, "name");
        if name.starts_with("kavadam-") {
            let asked = dependency.get("features").and_then(Value::as_array);
            let features = asked.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            found.ours.entry(short(&name)).or_default().extend(features);
        } else {
            found.foreign.insert(name);
        }
    }
    found
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn short(name: &str) -> String {
    name.trim_start_matches("kavadam-").to_owned()
}
