//! The command line and the service seal with one key.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn plans(dir: &Path, credentials: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kavadam"));
    command.env_remove("KAVADAM_CONFIG").env_remove("CREDENTIALS_DIRECTORY");
    if let Some(credentials) = credentials {
        command.env("CREDENTIALS_DIRECTORY", credentials);
    }
    command
        .arg("--config")
        .arg(dir.join("kavadam.toml"))
        .args(["plan", "list"])
        .output()
        .unwrap()
}

/// A database that was first used with the key of a credential; its directory and the credential's.
fn sealed_by_a_credential() -> (tempfile::TempDir, tempfile::TempDir) {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = format!(
        "role = 'centre'\nstate_dir = '{}/state'\nsms.route = 'log-nothing'\n",
        dir.path().display()
    );
    fs::write(dir.path().join("kavadam.toml"), config).unwrap();
    let key = credentials.path().join("master.key");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(key, fs::Permissions::from_mode(0o400)).unwrap();
    let output = plans(dir.path(), Some(credentials.path()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (dir, credentials)
}

#[test]
fn a_command_without_the_services_key_makes_none_of_its_own() {
    let (dir, _credentials) = sealed_by_a_credential();
    let output = plans(dir.path(), None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("secrets.master_key_file") && said.contains("credential"),
        "{said}"
    );
    assert!(!dir.path().join("state/master.key").exists());
}

#[test]
fn another_key_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, _credentials) = sealed_by_a_credential();
    let key = dir.path().join("state/master.key");
    fs::write(&key, [8; 32]).unwrap();
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    let output = plans(dir.path(), None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is not the master key"), "{said}");
}
