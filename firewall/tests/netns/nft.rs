//! What `nft` says of the kernel's tables.

use std::process::Command;

/// Runs a command, or several with `;` between; what it says.
pub fn nft(command: &str) -> String {
    let output = Command::new("nft").arg(command).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Seconds for which each element of a set stays.
pub fn left(set: &str) -> Vec<u64> {
    let words = ["-j", "list", "set", "inet", "kavadam", set];
    let listed = Command::new("nft").args(words).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let elements = listed["nftables"][1]["set"]["elem"].as_array().unwrap();
    let expires = elements.iter().map(|one| one["elem"]["expires"].as_u64());
    expires.map(Option::unwrap).collect()
}
