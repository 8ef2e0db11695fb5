//! A gate, as the RADIUS server needs it, and the gates that may have sent a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use kavadam_domain::gate::Abilities;
use kavadam_domain::{NasId, SiteId, Timestamp};
use zeroize::Zeroizing;

/// A RADIUS client, as the server needs it.
#[derive(Clone)]
pub struct NasEntry {
    /// Set by the store.
    pub id: NasId,
    /// NAS-Identifier, unique.
    pub name: String,
    /// Where it stands.
    pub site: SiteId,
    /// Requests come from here.
    pub source: IpNet,
    /// Shared secret.
    pub secret: Zeroizing<Vec<u8>>,
    /// How its requests are proven, besides by that secret.
    pub proof: NasProof,
    /// UAM secret, for the signature of its redirects.
    pub uam_secret: Zeroizing<Vec<u8>>,
    /// UDP port for CoA and Disconnect (3799), on the address its requests come from or on [`Self::coa_host`].
    pub coa_port: u16,
    /// Where it takes orders, by address or name, if not where its requests come from.
    pub coa_host: Option<String>,
    /// Name of its vendor's profile.
    pub profile: String,
    /// What it can be held to.
    pub abilities: Abilities,
}

/// How requests are proven to be a gate's, besides by its secret. By default they are not.
#[derive(Clone, Default)]
pub struct NasProof {
    /// The secret it had before, while that is being changed.
    pub old_secret: Option<OldSecret>,
    /// Until when its Access-Requests may lack Message-Authenticator; a time that is past still tells that they did.
    pub unsigned_until: Option<Timestamp>,
    /// Whether the old secret proved its last request. Shared by all copies: it is learnt where requests arrive, and used where
    /// orders leave.
    pub is_old_in_use: Arc<AtomicBool>,
}

/// A secret that is being replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct OldSecret {
    /// The secret.
    pub secret: Zeroizing<Vec<u8>>,
    /// It proves nothing from then on.
    pub until: Timestamp,
}

/// One of a gate's two secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichSecret {
    /// The one that is to stay.
    New,
    /// The one that is being replaced.
    Old,
}

impl NasEntry {
    /// The secrets that are valid, the one that proved the gate's last request first.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = (WhichSecret, &[u8])> {
        let new = Some((WhichSecret::New, self.secret.as_slice()));
        let old = self.proof.old_secret.as_ref().filter(|old| now < old.until);
        let old = old.map(|old| (WhichSecret::Old, old.secret.as_slice()));
        let is_old_first = old.is_some() && self.proof.is_old_in_use.load(Ordering::Relaxed);
        let order = if is_old_first { [old, new] } else { [new, old] };
        order.into_iter().flatten()
    }

    /// That secret proved a request.
    pub fn proven_by(&self, which: WhichSecret) {
        let is_old = which == WhichSecret::Old;
        // Written only where it changes: every request passes here.
        if self.proof.is_old_in_use.load(Ordering::Relaxed) != is_old {
            self.proof.is_old_in_use.store(is_old, Ordering::Relaxed);
        }
    }
}

/// The gates that may have sent a request: those of the narrowest range that holds its source. Cheap to clone.
#[derive(Clone, Default)]
pub struct Candidates(Option<Arc<[Arc<NasEntry>]>>);

impl Candidates {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<NasEntry>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The one of that NAS-Identifier.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<&Arc<NasEntry>> {
        let gates = self.all();
        let at = gates.binary_search_by(|gate| gate.name.as_bytes().cmp(name)).ok()?;
        gates.get(at)
    }
}

impl FromIterator<Arc<NasEntry>> for Candidates {
    fn from_iter<I: IntoIterator<Item = Arc<NasEntry>>>(gates: I) -> Self {
        let mut gates: Vec<_> = gates.into_iter().collect();
        gates.sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Self((!gates.is_empty()).then(|| gates.into()))
    }
}

/// A gate that is known otherwise than by its source.
impl From<NasEntry> for Candidates {
    fn from(gate: NasEntry) -> Self {
        Self(Some(Arc::new([Arc::new(gate)])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn gate(until: Timestamp) -> NasEntry {
        NasEntry {
            id: NasId(1),
            name: "gate-1".into(),
            site: SiteId(1),
            source: "10.0.0.1/32".parse().unwrap(),
            secret: b"new".to_vec().into(),
            proof: NasProof {
                old_secret: Some(OldSecret {
                    secret: b"old".to_vec().into(),
                    until,
                }),
                ..NasProof::default()
            },
            uam_secret: Vec::new().into(),
            coa_port: 3799,
            coa_host: None,
            profile: "kavadam".into(),
            abilities: kavadam_domain::gate::Abilities::ALL,
        }
    }

    fn order(gate: &NasEntry) -> Vec<WhichSecret> {
        gate.secrets(NOW).map(|(which, _)| which).collect()
    }

    #[test]
    fn the_secret_that_worked_last_comes_first_and_the_old_one_until_its_time() {
        let changing = gate(Timestamp(1_000_001));
        assert_eq!(order(&changing), [WhichSecret::New, WhichSecret::Old]);
        changing.clone().proven_by(WhichSecret::Old);
        assert_eq!(order(&changing), [WhichSecret::Old, WhichSecret::New]);
        changing.proven_by(WhichSecret::New);
        assert_eq!(order(&changing), [WhichSecret::New, WhichSecret::Old]);
        let changed = gate(NOW);
        changed.proven_by(WhichSecret::Old);
        assert_eq!(order(&changed), [WhichSecret::New]);
    }

    #[test]
    fn gates_of_one_range_are_found_by_name() {
        let named = |name: &str| {
            Arc::new(NasEntry {
                name: name.to_owned(),
                ..gate(NOW)
            })
        };
        let gates: Candidates = ["b", "c", "a"].into_iter().map(named).collect();
        for name in ["a", "b", "c"] {
            assert_eq!(gates.named(name.as_bytes()).unwrap().name, name);
        }
        assert!(gates.named(b"d").is_none() && Candidates::default().named(b"a").is_none());
    }
}
