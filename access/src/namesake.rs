//! Sessions of one Acct-Session-Id at the gates that one record stands for.
//!
//! A vendor's record may stand for the access points of a network, or for whatever is behind a proxy, and each counts its sessions by itself.
//! So at such a record a session goes by its Acct-Session-Id *with* who gave it, as that calls itself: sessions of one number at two gates are
//! two. A gate may call itself otherwise in its reports than in its requests, or otherwise than before: then its device tells that it is the one.

use kavadam_domain::NasId;
use kavadam_store::{SessionRow, Tx};

use crate::AccessError;
use crate::api::AccountingReport;
use crate::asked_for::Whose;
use crate::find::Spoken;

/// Between the Acct-Session-Id and who gave it: what the wire's texts have as `%25@`.
const GIVEN_BY: &str = "%@";

/// The name of a session at a record that may stand for many gates: its Acct-Session-Id, and who gave it.
#[must_use]
pub fn named_by(mut acct_session_id: String, write_reporter: impl FnOnce(&mut String)) -> String {
    let bare = acct_session_id.len();
    acct_session_id.push_str(GIVEN_BY);
    let nobody = acct_session_id.len();
    write_reporter(&mut acct_session_id);
    if bare == 0 || acct_session_id.len() == nobody {
        acct_session_id.truncate(bare);
    }
    acct_session_id
}

/// The Acct-Session-Id alone.
pub fn bare(name: &str) -> &str {
    name.split_once(GIVEN_BY).map_or(name, |(bare, _)| bare)
}

/// Whether two names are of one Acct-Session-Id, whoever gave it.
pub fn is_bare_same(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(bare) == other.map(bare)
}

/// Whether a vendor's gate speaks of another device than that of the session which was found by its name alone.
pub async fn is_of_a_namesake(tx: &mut Tx, session: &SessionRow, spoken: &Spoken<'_>) -> Result<bool, AccessError> {
    Ok(is_of_another_device(session, spoken) && is_vendors(tx, spoken.nas).await?)
}

fn is_of_another_device(session: &SessionRow, spoken: &Spoken<'_>) -> bool {
    let is_tied = spoken.class == Some(session.class.as_slice());
    let macs = session.mac.zip(spoken.mac);
    !is_tied && macs.is_some_and(|(known, told)| known != told)
}

/// Whether a report with nothing to tie it comes from a gate that calls itself otherwise than the one which has the session: from another that gave
/// the number too, or from the same.
pub fn is_of_another_gate(session: &SessionRow, report: &AccountingReport) -> bool {
    let name = report.acct_session_id.as_str();
    let is_tied = report.class.as_deref() == Some(session.class.as_slice());
    let known = session.acct_session_id.as_deref().filter(|known| *known != name);
    !is_tied && known.is_some() && is_bare_same(known, Some(name))
}

/// Whether a record may stand for many gates.
pub async fn is_vendors(tx: &mut Tx, nas: NasId) -> Result<bool, AccessError> {
    Ok(tx.nas(nas).await?.is_some_and(|nas| nas.is_vendors()))
}

/// The one live session of that Acct-Session-Id that is the person's or the device's who is told, by whatever else its gate called itself.
pub async fn find_given_by_another(
    tx: &mut Tx,
    spoken: &Spoken<'_>,
    whose: &Whose,
) -> Result<Option<SessionRow>, AccessError> {
    if spoken.acct_session_id.is_none() || !is_vendors(tx, spoken.nas).await? {
        return Ok(None);
    }
    let is_it = |session: &SessionRow| {
        session.nas_id == spoken.nas
            && is_bare_same(session.acct_session_id.as_deref(), spoken.acct_session_id)
            && !is_of_another_device(session, spoken)
    };
    let mut found: Vec<SessionRow> = Vec::new();
    for owner in whose.all() {
        let live = tx.live_sessions_of(owner).await?;
        found.extend(live.into_iter().filter(is_it));
    }
    // Of several nobody knows which.
    Ok(found.pop().filter(|_| found.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_acct_session_id_in_front() {
        let by = |id: &str, who: &str| named_by(id.to_owned(), |name| name.push_str(who));
        let named = by("80d00001", "ap-7/10.9.0.7");
        assert_eq!((named.as_str(), bare(&named)), ("80d00001%@ap-7/10.9.0.7", "80d00001"));
        assert_eq!(by("80d00001", ""), "80d00001", "of who does not say who it is");
        assert_eq!(by("", "ap-7"), "", "of no session");
        assert_eq!(bare("80d%25@1"), "80d%25@1");
        assert!(is_bare_same(Some("a%@x"), Some("a")) && !is_bare_same(Some("a"), None));
    }
}
