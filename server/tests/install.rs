//! `make install` puts everything where systemd, man and shells look for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn everything_is_installed_and_the_units_name_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("make")
        .args(["install", "PREFIX=/opt/kavadam"])
        .arg(format!("KAVADAM={}", env!("CARGO_BIN_EXE_kavadam")))
        .arg(format!("DESTDIR={}", dir.path().display()))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in [
        "opt/kavadam/bin/kavadam",
        "usr/lib/sysusers.d/kavadam.conf",
        "usr/lib/tmpfiles.d/kavadam.conf",
        "opt/kavadam/share/man/man1/kavadam.1",
        "opt/kavadam/share/man/man1/kavadam-gate.1",
        "opt/kavadam/share/man/man1/kavadam-advertise.1",
        "opt/kavadam/share/bash-completion/completions/kavadam",
        "opt/kavadam/share/zsh/vendor-completions/_kavadam",
        "opt/kavadam/share/fish/vendor_completions.d/kavadam.fish",
    ] {
        assert!(
            fs::metadata(dir.path().join(file)).is_ok_and(|found| found.len() > 0),
            "{file}"
        );
    }
    for unit in ["kavadam", "kavadam-closed", "kavadam-dnsmasq", "kavadam-advertise"] {
        let path = dir.path().join(format!("usr/lib/systemd/system/{unit}.service"));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("ExecStart=/opt/kavadam/bin/kavadam "), "{text}");
        assert!(!text.contains("/usr/bin/kavadam"), "{text}");
        let other = dir.path().join(format!("usr/lib/systemd/system/{unit}@.service"));
        let other = fs::read_to_string(other).unwrap();
        assert!(
            other.contains("/opt/kavadam/bin/kavadam --config /etc/kavadam/%i.toml ")
                || other.contains("LoadCredential=kavadam.toml:/etc/kavadam/%i.toml\n"),
            "{other}"
        );
        // Nothing of it is the first gate's.
        let shared = |line: &&str| {
            let is_directory = ["StateDirectory=", "RuntimeDirectory="]
                .iter()
                .any(|key| line.starts_with(key));
            (is_directory && !line.ends_with("-%i"))
                || (line.contains("kavadam") && line.contains(".service") && !line.contains("@%i."))
        };
        let left: Vec<&str> = other
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter(shared)
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Whoever reads the first line only is no failure, nor a panic.
#[test]
fn completions_may_be_read_in_part() {
    let command = format!(
        "{} completions bash | head -1; test ${{PIPESTATUS[0]}} = 0",
        env!("CARGO_BIN_EXE_kavadam")
    );
    let output = Command::new("bash").args(["-c", &command]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
