//! Which gate sent a request.
//!
//! The candidates are the gates of the narrowest range that holds its source. One that is alone there is meant whatever it calls
//! itself: vendors put all sorts of things into NAS-Identifier. Of several, NAS-Identifier says which one is meant; without one that
//! names any of them, each may be. What decides is the secret: the gate is the one whose secret proves the request, and no gate's
//! secret is another's within a range, so that none speaks for another.

use std::sync::Arc;

use kavadam_access::api::{Candidates, NasEntry, WhichSecret};
use kavadam_domain::Timestamp;

use super::DropReason;
use crate::wire::{Code, Packet, Unverified, attr};

/// Secrets tried on a request that names no gate: a digest each, which a flood from within a range must not multiply.
const MOST_UNNAMED: usize = 8;

/// The gate, and the secret that proved it.
#[derive(Clone)]
pub(super) struct Sender {
    nas: Arc<NasEntry>,
    which: WhichSecret,
}

impl Sender {
    pub(super) fn nas(&self) -> &NasEntry {
        &self.nas
    }

    /// Reads and signs what is said.
    pub(super) fn secret(&self) -> &[u8] {
        match (self.which, &self.nas.proof.old_secret) {
            (WhichSecret::Old, Some(old)) => &old.secret,
            _ => &self.nas.secret,
        }
    }

    /// The gate that sent a request.
    pub(super) fn of(packet: &Packet, gates: &Candidates, now: Timestamp) -> Result<Self, DropReason> {
        let all = gates.all();
        let sender = match all {
            [] => return Err(DropReason::UnknownSource),
            [alone] => prove_alone(packet, alone, now),
            _ => match packet.octets(attr::NAS_IDENTIFIER).and_then(|name| gates.named(&name)) {
                Some(named) => prove(packet, named, now),
                None if all.len() > MOST_UNNAMED => Err(DropReason::Unnamed),
                None => prove_any(packet, all, now),
            },
        }
        .inspect_err(|reason| tracing::debug!(?reason, candidates = all.len(), "dropped a request"))?;
        sender.nas.proven_by(sender.which);
        Ok(sender)
    }
}

/// One gate's word, proven by one of its secrets.
fn prove(packet: &Packet, nas: &Arc<NasEntry>, now: Timestamp) -> Result<Sender, DropReason> {
    for (which, secret) in nas.secrets(now) {
        match packet.verify_request(secret, true) {
            Ok(()) => {
                return Ok(Sender {
                    nas: Arc::clone(nas),
                    which,
                });
            }
            Err(Unverified::NoMessageAuthenticator) => return Err(DropReason::Unsigned),
            Err(Unverified::Authenticator | Unverified::MessageAuthenticator) => {}
        }
    }
    Err(DropReason::Unverified)
}

fn prove_any(packet: &Packet, gates: &[Arc<NasEntry>], now: Timestamp) -> Result<Sender, DropReason> {
    let mut proven = Err(DropReason::Unverified);
    for nas in gates {
        proven = prove(packet, nas, now);
        if !matches!(proven, Err(DropReason::Unverified)) {
            break;
        }
    }
    proven
}

/// Likewise, or as an exception that ends with its date: an old gate cannot send Message-Authenticator yet. Nothing proves such a
/// request, so it is taken only from a source where no other gate is. Proxy-State beside it is what the forger of an answer needs
/// (BlastRADIUS, CVE-2024-3596), and a gate that stands alone has none.
fn prove_alone(packet: &Packet, nas: &Arc<NasEntry>, now: Timestamp) -> Result<Sender, DropReason> {
    let is_unsigned = packet.code() == Code::AccessRequest && !packet.has_message_authenticator();
    match nas.proof.unsigned_until {
        Some(until) if is_unsigned && now >= until => Err(DropReason::ExceptionOver),
        Some(_) if is_unsigned && packet.has(attr::PROXY_STATE) => Err(DropReason::UnsignedProxyState),
        Some(_) if is_unsigned => Ok(Sender {
            nas: Arc::clone(nas),
            which: nas.secrets(now).next().map_or(WhichSecret::New, |(which, _)| which),
        }),
        _ => prove(packet, nas, now),
    }
}

#[cfg(test)]
mod tests;
