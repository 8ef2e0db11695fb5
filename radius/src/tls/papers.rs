//! What a client showed at the handshake, looked at again while its connection stands.

use std::sync::Arc;

use kavadam_domain::Timestamp;
use rustls::pki_types::CertificateDer;

use super::files::{ServerSide, first_to_expire};

/// The certificates of a client, and by what they were found good.
pub(crate) struct Papers {
    /// Its own first.
    chain: Vec<CertificateDer<'static>>,
    /// When the first of them expires; one that cannot be read is looked at each time.
    expire_at: Option<Timestamp>,
    judged_by: Arc<ServerSide>,
}

impl Papers {
    /// As shown at a handshake that these judged.
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>, judged_by: Arc<ServerSide>) -> Self {
        Self {
            expire_at: first_to_expire(&chain),
            chain,
            judged_by,
        }
    }

    /// Whether a new connection with them would be let in. They are judged when the authorities or their lists were read again, and when they
    /// expire: in between nothing can have changed, and thousands of signatures are too much for every few seconds.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn look_again(&mut self, now: &Arc<ServerSide>, at: Timestamp) -> Result<(), rustls::Error> {
        let are_as_good_as_ever = Arc::ptr_eq(now, &self.judged_by) && self.expire_at.is_some_and(|end| at < end);
        if !are_as_good_as_ever {
            now.judge(&self.chain, at)?;
            self.judged_by = Arc::clone(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::*;
    use crate::tls::{TlsFiles, Versions};

    /// A server that trusts an authority made for it, and a certificate of that, good for the year 2026.
    fn scene(dir: &Path) -> (Arc<ServerSide>, CertificateDer<'static>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["gate.example.org".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let own = params.signed_by(&key, &issuer).unwrap();
        let file = |name: &str, text: String| {
            fs::write(dir.join(name), text).unwrap();
            dir.join(name)
        };
        let files = TlsFiles {
            certificate: file("own.pem", own.pem()),
            key: file("own.key", key.serialize_pem()),
            authorities: file("ca.pem", issuer.pem()),
            revoked: None,
        };
        (Arc::new(files.server(Versions::Any).unwrap()), own.der().clone())
    }

    #[test]
    fn papers_are_good_until_they_expire_or_their_authority_is_taken_out() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [(server, own), (other, _)] = dirs.each_ref().map(|dir| scene(dir.path()));
        let new_year = Timestamp::from_secs(1_798_761_600);
        let mut papers = Papers::new(vec![own], Arc::clone(&server));
        let before = new_year - Duration::from_secs(10);
        assert!(papers.look_again(&server, before).is_ok());
        assert!(papers.look_again(&other, before).is_err());
        assert!(papers.look_again(&server, new_year + Duration::from_secs(10)).is_err());
    }
}
