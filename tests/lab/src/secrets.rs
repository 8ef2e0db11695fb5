//! Files with secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes a secret into a file that its owner alone can read; the path, as a configuration or an argument has it.
///
/// # Errors
/// It cannot be written.
pub fn secret_file(dir: &Path, name: &str, secret: &str) -> anyhow::Result<String> {
    let path = dir.join(name);
    fs::write(&path, secret)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}
