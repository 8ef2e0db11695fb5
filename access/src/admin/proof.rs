//! How requests are proven to be a gate's: the rules that keep one gate from speaking for another.

use std::time::Duration;

use kavadam_domain::Timestamp;
use kavadam_store::{NasProof, NasRow, NewNas};
use zeroize::Zeroizing;

use super::NasChange;
use crate::AccessError;
use crate::seal::{SealError, Sealer};

/// An exception that ends later than this is none.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// What proves a gate's requests once it is changed, or made.
pub(super) fn proof_after(
    known: Option<&NasRow>,
    change: &NasChange<'_>,
    now: Timestamp,
) -> Result<NasProof, AccessError> {
    let mut proof = known.map(NasRow::proof).unwrap_or_default();
    if change.secret.is_some() {
        let old_secret = known.map(|known| known.secret_sealed.clone());
        proof.old_secret_sealed = old_secret.filter(|_| change.old_secret_until.is_some());
        proof.old_secret_until = None;
    }
    if let Some(until) = change.old_secret_until {
        if proof.old_secret_sealed.is_none() {
            return Err(AccessError::Invalid(
                "there is no old secret: give the new one at the same time".to_owned(),
            ));
        }
        proof.old_secret_until = lasting(until, now)?;
    }
    if proof.old_secret_until.is_none() {
        proof.old_secret_sealed = None;
    }
    if let Some(until) = change.unsigned_until {
        proof.unsigned_until = lasting(until, now)?;
    }
    if let Some(is_allowed) = change.is_ms_chap_allowed {
        proof.is_ms_chap_allowed = is_allowed;
    }
    Ok(proof)
}

/// `None` for what is over.
fn lasting(until: Timestamp, now: Timestamp) -> Result<Option<Timestamp>, AccessError> {
    if until > now + LONGEST {
        return Err(AccessError::Invalid("choose a date within a year".to_owned()));
    }
    Ok((until > now).then_some(until))
}

/// Gates of one range are told apart by NAS-Identifier, which anybody can write, and by the secret that proves it: each needs its
/// own. What is taken without proof there could be anyone's of them.
pub(super) fn check_range(
    nases: &[NasRow],
    row: &NewNas,
    proof: &NasProof,
    sealer: &Sealer,
) -> Result<(), AccessError> {
    let ours = secrets(sealer, &row.secret_sealed, proof)?;
    let is_twin = |nas: &&NasRow| nas.name != row.name && nas.source.trunc() == row.source.trunc();
    for twin in nases.iter().filter(is_twin) {
        let theirs = secrets(sealer, &twin.secret_sealed, &twin.proof())?;
        let problem = if ours.iter().any(|secret| theirs.contains(secret)) {
            "with the same secret, so that each could speak for the other: give each gate of a source a secret of its own"
        } else if proof.unsigned_until.is_some() || twin.unsigned_until.is_some() {
            "and only a gate alone at its source may do without Message-Authenticator: give it a source of its own"
        } else {
            continue;
        };
        return Err(AccessError::Invalid(format!(
            "requests from {} are those of the gate `{}` too, {problem}",
            row.source, twin.name
        )));
    }
    Ok(())
}

/// Every secret of a gate, valid or over.
fn secrets(sealer: &Sealer, present: &[u8], proof: &NasProof) -> Result<Vec<Zeroizing<Vec<u8>>>, SealError> {
    let all = std::iter::once(present).chain(proof.old_secret_sealed.as_deref());
    all.map(|secret| sealer.open(secret)).collect()
}
