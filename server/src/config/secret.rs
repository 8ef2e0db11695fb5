//! Secrets in files, readable by their owner alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::Problem;

/// Permissions of those who are neither owner nor group.
const OTHERS: u32 = 0o007;

/// Reads a secret; white space at its end is not part of it.
///
/// # Errors
/// There is no such file, others may read it, or it is empty.
pub fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    if path.as_os_str().is_empty() {
        bail!("name the file that holds it");
    }
    let shown = path.display();
    require_private(path)?;
    let text = Zeroizing::new(fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?);
    let secret = Zeroizing::new(text.trim_end().to_owned());
    ensure!(!secret.is_empty(), "{shown} is empty");
    Ok(secret)
}

/// Refuses a file that others may read.
///
/// # Errors
/// There is no such file, or they may.
pub fn require_private(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let mode = fs::metadata(path)
        .with_context(|| format!("cannot read {shown}"))?
        .mode();
    ensure!(
        mode & OTHERS == 0,
        "{shown} can be read by everybody: run chmod 600 {shown}"
    );
    Ok(())
}

/// The secret that the two halves of an all-in-one share, made at the first start.
///
/// # Errors
/// It can neither be read nor made.
pub fn local_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    if !path.exists() {
        let octets: [u8; 24] = rand::random();
        let text = Zeroizing::new(HEXLOWER.encode(&octets));
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
    read_secret(path)
}

/// What systemd hands over under that name (`LoadCredential=`), if it does.
pub fn credential(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    path.exists().then_some(path)
}

/// Complains of a password in a database's URL where everybody can read the file it stands in.
pub fn exposed_password(url: &str, path: &Path) -> Option<Problem> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let has_password = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        || rest
            .split(['?', '&'])
            .skip(1)
            .any(|given| given.starts_with("password="));
    let mode = fs::metadata(path).ok()?.mode();
    (has_password && mode & OTHERS != 0).then(|| Problem {
        key: "database.url".to_owned(),
        text: format!(
            "it holds a password, and everybody can read this file: chown root:kavadam {0} && chmod 640 {0}",
            path.display()
        ),
    })
}
