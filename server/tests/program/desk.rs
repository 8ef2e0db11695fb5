//! The real program over a configuration and database of its own.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A centre alone, so that no kernel is needed.
const CENTRE: &str = "role = \"centre\"\n[sms]\nroute = \"log-nothing\"\n";
pub const NUMBER: &str = "9876543210";

pub struct Desk {
    pub dir: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(CENTRE)
    }

    pub fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("state_dir = \"{}\"\n{text}", dir.path().join("state").display());
        std::fs::write(dir.path().join("kavadam.toml"), text).unwrap();
        Self { dir }
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("kavadam.toml")
    }

    pub fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_kavadam"))
            .env_remove("KAVADAM_CONFIG")
            .arg("--config")
            .arg(self.config())
            .args(words)
            .output()
            .unwrap()
    }

    pub fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[words, &["--json"]].concat())).unwrap()
    }

    /// Refused with this code, and a message that holds these words.
    pub fn refused(&self, words: &[&str], code: i32, says: &str) {
        let output = self.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?} says {said}");
        assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    }
}

pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
