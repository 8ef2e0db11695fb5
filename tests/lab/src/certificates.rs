//! Certificates for RADIUS over TLS, by OpenSSL.

use std::path::{Path, PathBuf};

use crate::netns::sh;

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// An authority of the lab.
pub struct Authority {
    dir: PathBuf,
}

/// A certificate and its key, both PEM.
pub struct Certificate {
    /// Path of the certificate.
    pub certificate: String,
    /// Path of the key.
    pub key: String,
}

impl Authority {
    /// Makes one that keeps everything in this directory.
    ///
    /// # Errors
    /// What `openssl` said.
    pub fn new(dir: &Path) -> anyhow::Result<Self> {
        let made = Self { dir: dir.to_owned() };
        openssl(&format!(
            "req -x509 {KEY} -days 2 -subj /CN=authority -keyout {} -out {}",
            made.path("authority.key"),
            made.certificate()
        ))?;
        Ok(made)
    }

    /// Path of its own certificate.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.path("authority.pem")
    }

    /// A certificate for this DNS name.
    ///
    /// # Errors
    /// What `openssl` said.
    pub fn issue(&self, name: &str) -> anyhow::Result<Certificate> {
        let [certificate, key, request] = ["pem", "key", "csr"].map(|kind| self.path(&format!("{name}.{kind}")));
        openssl(&format!(
            "req {KEY} -subj /CN={name} -addext subjectAltName=DNS:{name} -keyout {key} -out {request}"
        ))?;
        openssl(&format!(
            "x509 -req -in {request} -CA {} -CAkey {} -CAcreateserial -copy_extensions copy -days 2 -out {certificate}",
            self.certificate(),
            self.path("authority.key")
        ))?;
        Ok(Certificate { certificate, key })
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

fn openssl(words: &str) -> anyhow::Result<()> {
    let words: Vec<&str> = words.split(' ').collect();
    sh("openssl", &words).map(drop)
}
