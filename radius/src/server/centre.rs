//! What the server needs of the centre.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kavadam_access::api::{Accounted, AccountingReport, AuthorizeRequest, Candidates, Decision, NasEntry};
use kavadam_access::{Access, AccessError};
use kavadam_domain::{CertificateName, Language, Mac, NasId, SiteId, Timestamp};

/// The use cases behind the ports. An error means that nothing was decided or kept: the gate gets no answer and asks again.
pub trait Centre: Send + Sync + 'static {
    /// What can go wrong.
    type Error: std::error::Error + Send;

    /// The gates whose requests may come from there. Asked for every datagram, so they should be remembered in memory.
    fn gates_at(&self, source: IpAddr) -> impl Future<Output = Result<Candidates, Self::Error>> + Send;

    /// Whether certainly no gate's requests come from there. Must not wait.
    fn is_stranger(&self, source: IpAddr) -> bool {
        _ = source;
        false
    }

    /// The gate that is tied to a certificate with these names. Asked for every packet over TLS. Without it there is none.
    fn nas_by_certificate(
        &self,
        names: &[CertificateName],
    ) -> impl Future<Output = Result<Option<Arc<NasEntry>>, Self::Error>> + Send {
        _ = names;
        std::future::ready(Ok(None))
    }

    /// An authentic request of the gate came from there. Must not wait.
    fn nas_seen(&self, nas: NasId, from: SocketAddr, now: Timestamp);

    /// The language of whoever is behind a request that could not be read: it is refused without a decision. Without it the service's own.
    fn language_of(
        &self,
        site: SiteId,
        mac: Option<Mac>,
        user_name: &str,
    ) -> impl Future<Output = Result<Language, Self::Error>> + Send {
        _ = (site, mac, user_name);
        std::future::ready(Ok(Language::default()))
    }

    /// Decides an Access-Request.
    fn authorize(
        &self,
        request: AuthorizeRequest,
        now: Timestamp,
    ) -> impl Future<Output = Result<Decision, Self::Error>> + Send;

    /// Takes a report in; `Ok` means that it is kept.
    fn account(
        &self,
        report: AccountingReport,
        now: Timestamp,
    ) -> impl Future<Output = Result<Accounted, Self::Error>> + Send;
}

impl Centre for Access {
    type Error = AccessError;

    async fn gates_at(&self, source: IpAddr) -> Result<Candidates, AccessError> {
        Self::gates_at(self, source).await
    }

    fn is_stranger(&self, source: IpAddr) -> bool {
        Self::is_stranger(self, source)
    }

    async fn nas_by_certificate(&self, names: &[CertificateName]) -> Result<Option<Arc<NasEntry>>, AccessError> {
        Self::nas_by_certificate(self, names).await
    }

    fn nas_seen(&self, nas: NasId, from: SocketAddr, now: Timestamp) {
        Self::nas_seen(self, nas, from, now);
    }

    async fn language_of(&self, site: SiteId, mac: Option<Mac>, user_name: &str) -> Result<Language, AccessError> {
        self.language_at(site, mac, user_name).await
    }

    async fn authorize(&self, request: AuthorizeRequest, now: Timestamp) -> Result<Decision, AccessError> {
        Self::authorize(self, request, now).await
    }

    async fn account(&self, report: AccountingReport, now: Timestamp) -> Result<Accounted, AccessError> {
        Self::account(self, report, now).await
    }
}
