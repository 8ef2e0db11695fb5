//! The certificate of the API, read again when its files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::ApiConfig;

const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file that is missing, unreadable, or no PEM.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// The two do not belong together, or are of a kind that TLS cannot use.
    #[error("the certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate in use.
#[derive(Clone)]
pub(crate) struct TlsDoor {
    current: Arc<RwLock<TlsAcceptor>>,
    files: [PathBuf; 2],
}

impl TlsDoor {
    pub fn open(api: &ApiConfig) -> Result<Self, CertificateError> {
        let acceptor = load(&api.certificate_file, &api.key_file)?;
        Ok(Self {
            current: Arc::new(RwLock::new(acceptor)),
            files: [api.certificate_file.clone(), api.key_file.clone()],
        })
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for changed files until cancelled, and reads them on SIGHUP. A new pair that cannot be used leaves the old one in place.
    pub async fn watch(self, cancel: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut seen = self.changed_at();
        loop {
            let is_told = tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => false,
                Some(()) = async { hangup.as_mut()?.recv().await } => true,
            };
            let now = self.changed_at();
            if now == seen && !is_told {
                continue;
            }
            seen = now;
            let [certificate, key] = &self.files;
            match load(certificate, key) {
                Ok(acceptor) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                    tracing::info!("the API's certificate was replaced");
                }
                Err(error) => tracing::error!(%error, "the API keeps its old certificate"),
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let changed = |path: &PathBuf| -> io::Result<SystemTime> { std::fs::metadata(path)?.modified() };
        self.files.each_ref().map(|path| changed(path).ok())
    }
}

/// Reads and checks a pair.
pub(crate) fn load(certificate: &Path, key: &Path) -> Result<TlsAcceptor, CertificateError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |error| CertificateError::File { path, error }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(file(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
