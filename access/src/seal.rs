//! The master key: everything secret is derived from it or sealed with it, so that the database alone gives nothing away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const KEY_OCTETS: usize = 32;
const NONCE_OCTETS: usize = 12;

/// Derives and seals with the master key. Never shown.
#[derive(Clone)]
pub struct Sealer(Zeroizing<[u8; KEY_OCTETS]>);

/// What is wrong with a key or with what it should open.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Sealed with another master key, or changed since.
    #[error("a stored secret does not open: is this the master key it was sealed with?")]
    Broken,
    /// The key file cannot be used.
    #[error("master key {path}: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
}

impl Sealer {
    /// With this key.
    #[must_use]
    pub fn new(key: [u8; KEY_OCTETS]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// Reads the key file; makes it from `fresh` random octets (readable by its owner alone, on disk before it is used) if there is none.
    ///
    /// # Errors
    /// [`SealError::File`] if others may read it, it is not 32 octets, or it cannot be read or made.
    pub fn from_file(path: &Path, fresh: [u8; KEY_OCTETS]) -> Result<Self, SealError> {
        if fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            make(path, &fresh).map_err(|error| unfit(path, error.to_string()))?;
        }
        Self::read(path)
    }

    /// Reads the key file; makes none.
    ///
    /// # Errors
    /// [`SealError::File`] if others may read it, it is not 32 octets, or it cannot be read.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let metadata = fs::metadata(path).map_err(|error| unfit(path, error.to_string()))?;
        // A group may read it: so systemd hands a credential of root's to a service, and so root may keep it.
        if metadata.mode() & 0o037 != 0 {
            return Err(unfit(path, "others may read it; run chmod 600 on it".to_owned()));
        }
        let octets = Zeroizing::new(fs::read(path).map_err(|error| unfit(path, error.to_string()))?);
        let key = <[u8; KEY_OCTETS]>::try_from(octets.as_slice());
        key.map(Self::new)
            .map_err(|_| unfit(path, "it must hold 32 octets; restore it from the back-up".to_owned()))
    }

    /// A secret for one purpose and thing.
    #[must_use]
    pub fn derive(&self, purpose: &str, id: &[u8]) -> Zeroizing<[u8; 32]> {
        // An HMAC takes a key of any length, so the error cannot occur; zeros would be refused by every comparison alike.
        let Ok(mut hmac) = <Hmac<Sha256> as hmac::Mac>::new_from_slice(self.0.as_slice()) else {
            return Zeroizing::new([0; 32]);
        };
        hmac.update(purpose.as_bytes());
        hmac.update(&[0]);
        hmac.update(id);
        Zeroizing::new(hmac.finalize().into_bytes().into())
    }

    /// The secret from which a challenge's code is computed.
    #[must_use]
    pub fn code_secret(&self, challenge: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        self.derive("code", challenge)
    }

    /// The password of a ticket.
    #[must_use]
    pub fn ticket_password(&self, ticket: &[u8; 16]) -> Zeroizing<String> {
        let octets = self.derive("ticket", ticket);
        Zeroizing::new(data_encoding::HEXLOWER.encode(octets.as_slice()))
    }

    /// What stands for something private in keys of limits and in voucher tables.
    #[must_use]
    pub fn digest(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        *self.derive(purpose, value)
    }

    /// Seals a secret; `nonce` must be random each time.
    ///
    /// # Errors
    /// [`SealError::Broken`] for a secret of gigabytes.
    pub fn seal(&self, secret: &[u8], nonce: [u8; NONCE_OCTETS]) -> Result<Vec<u8>, SealError> {
        let sealed = self
            .cipher()
            .encrypt(Nonce::from_slice(&nonce), secret)
            .map_err(|_| SealError::Broken)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] made.
    ///
    /// # Errors
    /// [`SealError::Broken`].
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_OCTETS).ok_or(SealError::Broken)?;
        let secret = self
            .cipher()
            .decrypt(Nonce::from_slice(nonce), rest)
            .map_err(|_| SealError::Broken)?;
        Ok(Zeroizing::new(secret))
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(Key::from_slice(self.derive("seal", &[]).as_slice()))
    }
}

fn unfit(path: &Path, problem: String) -> SealError {
    SealError::File {
        path: path.to_owned(),
        problem,
    }
}

/// Written aside, under a name of its own, and linked into place: a crash leaves a whole key or none, and of two starts at once the first
/// link stands for both.
fn make(path: &Path, key: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("new-{:016x}", rand::random::<u64>()));
    let linked = write_private(&aside, key).and_then(|()| fs::hard_link(&aside, path));
    let removed = fs::remove_file(&aside);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => removed?,
    }
    path.parent()
        .map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_key_alone() {
        let sealer = Sealer::new([1; 32]);
        let closed = sealer.seal(b"radius secret", [9; 12]).unwrap();
        assert_eq!(sealer.open(&closed).unwrap().as_slice(), b"radius secret");
        assert!(Sealer::new([2; 32]).open(&closed).is_err());
        for at in 0..closed.len() {
            let mut changed = closed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(&changed).is_err(), "octet {at} changed");
        }
        assert!(sealer.open(b"short").is_err());
    }

    #[test]
    fn purposes_do_not_share_secrets() {
        let sealer = Sealer::new([1; 32]);
        assert_ne!(sealer.derive("code", &[7; 16]), sealer.derive("ticket", &[7; 16]));
        assert_ne!(sealer.code_secret(&[7; 16]), sealer.code_secret(&[8; 16]));
    }

    #[test]
    fn the_key_file_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let first = Sealer::from_file(&path, [3; 32]).unwrap();
        let again = Sealer::from_file(&path, [4; 32]).unwrap();
        assert_eq!(first.code_secret(&[0; 16]), again.code_secret(&[0; 16]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(Sealer::from_file(&path, [3; 32]).is_ok(), "as a credential");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Sealer::from_file(&path, [3; 32]).err().unwrap().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn many_first_starts_at_once_agree_on_one_key() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("master.key");
            let barrier = std::sync::Barrier::new(8);
            let start = |fresh: u8| {
                barrier.wait();
                let sealer = Sealer::from_file(&path, [fresh; 32]).unwrap();
                *sealer.code_secret(&[0; 16])
            };
            let keys: Vec<_> = std::thread::scope(|scope| {
                let start = &start;
                let starts: Vec<_> = (0..8).map(|fresh| scope.spawn(move || start(fresh))).collect();
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            let kept = Sealer::from_file(&path, [99; 32]).unwrap();
            assert!(keys.iter().all(|key| *key == *kept.code_secret(&[0; 16])));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        }
    }

    #[test]
    fn a_broken_key_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        fs::write(&path, b"half a key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Sealer::from_file(&path, [3; 32]).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"half a key");
    }
}
