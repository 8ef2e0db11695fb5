//! Certificates, keys and authorities: read from files, and read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use kavadam_domain::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
#[cfg(feature = "server")]
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
#[cfg(feature = "server")]
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Versions;
use crate::clock;

/// What one end of a connection shows, and whom it trusts. All PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Our certificate, then intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose certificates are taken from the other end.
    pub authorities: PathBuf,
    /// Revocation lists of all those authorities; `None`: nothing is revoked.
    pub revoked: Option<PathBuf>,
}

/// How a server meets its clients.
pub(crate) struct ServerSide {
    pub(crate) config: Arc<ServerConfig>,
    /// Of clients' certificates, by the authorities and their lists as they were read.
    #[cfg(feature = "server")]
    judge: Arc<dyn ClientCertVerifier>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is missing, unreadable, or no PEM.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// A file without what it is read for.
    #[error("{} holds no {what}", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// A certificate that cannot be read.
    #[error("{} holds a certificate that cannot be read", path.display())]
    Certificate {
        /// Where.
        path: PathBuf,
    },
    /// Key and certificate do not belong together, or are of a kind that TLS cannot use.
    #[error("the certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The authorities or their revocation lists cannot be used.
    #[error("the authorities cannot be used: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

/// Until when something is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The file that holds it.
    pub path: PathBuf,
    /// The first of its certificates to expire does then.
    pub at: Timestamp,
}

impl TlsFiles {
    /// What a server shows, and asks of its clients. Sessions are not resumed: that would pass over the client's certificate.
    pub(crate) fn server(&self, versions: Versions) -> Result<ServerSide, TlsError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots()?, provider())
            .with_crls(self.revocations()?)
            .only_check_end_entity_revocation()
            .build()?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_single_cert(self.chain()?, self.private_key()?)?;
        config.alpn_protocols = versions.protocols();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(ServerSide {
            config: Arc::new(config),
            #[cfg(feature = "server")]
            judge: verifier,
        })
    }

    /// What a client shows, and asks of its server.
    pub(crate) fn client(&self, versions: Versions) -> Result<ClientConfig, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots()?, provider())
            .with_crls(self.revocations()?)
            .only_check_end_entity_revocation()
            .build()?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(self.chain()?, self.private_key()?)?;
        config.alpn_protocols = versions.protocols();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    /// Reads everything as a server or client would, and tells until when it is valid.
    ///
    /// # Errors
    /// [`TlsError`]: neither could be started with it.
    pub fn examine(&self) -> Result<Vec<Expiry>, TlsError> {
        self.server(Versions::Any)?;
        let files = [
            (&self.certificate, self.chain()?),
            (&self.authorities, certificates(&self.authorities)?),
        ];
        files.into_iter().map(|(path, chain)| expiry(path, &chain)).collect()
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.certificate)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(&self.key).map_err(unreadable(&self.key))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities)? {
            roots.add(certificate)?;
        }
        Ok(Arc::new(roots))
    }

    fn revocations(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let Some(path) = &self.revoked else {
            return Ok(Vec::new());
        };
        let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(unreadable(path))?;
        full(path, "revocation list", lists)
    }

    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let changed = |path: &PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        self.paths().map(changed).collect()
    }

    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let files = [&self.certificate, &self.key, &self.authorities];
        files.into_iter().chain(&self.revoked)
    }
}

#[cfg(feature = "server")]
impl ServerSide {
    /// Whether a client with these certificates, its own first, is let in at that time.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], at: Timestamp) -> Result<(), rustls::Error> {
        let (own, between) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let secs = u64::try_from(at.as_secs()).unwrap_or(0);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        self.judge.verify_client_cert(own, between, at).map(|_| ())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(unreadable(path))?;
    full(path, "certificate", chain)
}

fn full<T>(path: &Path, what: &'static str, found: Vec<T>) -> Result<Vec<T>, TlsError> {
    if found.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
            what,
        });
    }
    Ok(found)
}

fn unreadable(path: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::File { path, error }
}

fn expiry(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Expiry, TlsError> {
    let path = path.to_owned();
    match first_to_expire(chain) {
        Some(at) => Ok(Expiry { path, at }),
        None => Err(TlsError::Certificate { path }),
    }
}

/// When the first of these certificates expires; `None` if one cannot be read.
pub(super) fn first_to_expire(chain: &[CertificateDer<'_>]) -> Option<Timestamp> {
    let mut first = i64::MAX;
    for certificate in chain {
        let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
        first = first.min(read.validity().not_after.timestamp());
    }
    Some(Timestamp::from_secs(first))
}

type Load<T> = dyn Fn(&TlsFiles) -> Result<T, TlsError> + Send + Sync;

/// Certificates in use: those of new connections. Open ones go on with what they were begun with.
pub(crate) struct Kept<T> {
    files: TlsFiles,
    load: Box<Load<T>>,
    /// When they had changed before they were read first.
    at_first: Vec<Option<SystemTime>>,
    current: RwLock<Arc<T>>,
}

impl<T> Kept<T> {
    pub(crate) fn open(
        files: TlsFiles,
        load: impl Fn(&TlsFiles) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let at_first = files.changed_at();
        let first = load(&files)?;
        files.nag();
        Ok(Self {
            files,
            load: Box::new(load),
            at_first,
            current: RwLock::new(Arc::new(first)),
        })
    }

    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again when they change, and on SIGHUP. New ones that cannot be used leave the old ones in place, and are read again at
    /// each look until they can: who copies a key and gives it to us a moment later changes no time of it.
    pub(crate) async fn watch(&self, look_every: Duration, cancel: &CancellationToken) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut read = self.at_first.clone();
        let mut trouble = String::new();
        loop {
            let is_told = tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(look_every) => false,
                Some(()) = async { hangup.as_mut()?.recv().await } => true,
            };
            let now = self.files.changed_at();
            if !is_told && now == read {
                continue;
            }
            match self.read_again() {
                Ok(()) => (read, trouble) = (now, String::new()),
                Err(error) => {
                    let error = error.to_string();
                    if is_told || error != trouble {
                        tracing::error!(error, "RadSec keeps its old certificates");
                    }
                    trouble = error;
                }
            }
        }
    }

    fn read_again(&self) -> Result<(), TlsError> {
        let new = (self.load)(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        tracing::info!(certificate = %self.files.certificate.display(), "RadSec certificates were read again");
        self.files.nag();
        Ok(())
    }
}

impl TlsFiles {
    /// A certificate that expires silences every gate at once.
    fn nag(&self) {
        const SOON: Duration = Duration::from_hours(30 * 24);
        let expiries = [
            (&self.certificate, self.chain()),
            (&self.authorities, certificates(&self.authorities)),
        ];
        for (path, chain) in expiries {
            let Some(expiry) = chain.ok().and_then(|chain| expiry(path, &chain).ok()) else {
                continue;
            };
            let left = expiry.at.since(clock::now());
            if left < SOON {
                let days = left.as_secs() / 86_400;
                tracing::warn!(file = %path.display(), days, "a RadSec certificate expires soon");
            }
        }
    }
}
