//! What a gate asked for without a name. Some send no Acct-Session-Id in Access-Request and no Class in their reports, so that neither ties
//! a report to its grant. A name that is nobody's is then that of the session which this gate was told to let begin just then, of the device
//! that it reports, or else of the person. An Access-Accept is used up by the first session that began upon it: no other is taken for its.

use kavadam_domain::session::SessionState;
use kavadam_domain::{Mac, SubscriberId, Timestamp};
use kavadam_store::{SessionRow, Tx};

use crate::AccessError;
use crate::began::{Asked, Began};
use crate::find::{Found, Spoken};

/// Whoever a gate may mean.
pub struct Whose {
    /// By User-Name.
    pub called: Vec<SubscriberId>,
    /// Who had the device last.
    pub owners: Vec<SubscriberId>,
}

impl Whose {
    pub async fn of(tx: &mut Tx, spoken: Spoken<'_>) -> Result<Self, AccessError> {
        let called = match spoken.user_name {
            Some(name) => tx.subscribers_called(name).await?,
            None => Vec::new(),
        };
        let owners = match device_of(spoken) {
            Some(mac) => tx.owners_of_device(mac).await?,
            None => Vec::new(),
        };
        Ok(Self { called, owners })
    }

    /// Each of them once.
    pub fn all(&self) -> Vec<SubscriberId> {
        let mut all = [self.called.as_slice(), &self.owners].concat();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn device_of(spoken: Spoken<'_>) -> Option<Mac> {
    // A number with its country code has twelve digits as well; a MAC that begins with 91 would be a group's, and nobody's device.
    let is_of_one = |mac: &Mac| mac.0.first().is_some_and(|octet| octet & 1 == 0);
    spoken.mac.or_else(|| spoken.user_name?.parse().ok().filter(is_of_one))
}

/// It was granted, and nothing was ever heard of it.
fn is_unbegun(session: &SessionRow) -> bool {
    session.started_at.is_none()
        && session.acct_session_id.is_none()
        && (session.state == SessionState::Granted || session.is_presumed_ended)
}

/// The grant that no session has begun yet of those whom a report can mean; or the session, which goes by another name, that the gate asked
/// for anew: it goes on as another, or is over and followed by another.
pub async fn find_asked_for(
    tx: &mut Tx,
    spoken: Spoken<'_>,
    began: Began,
    whose: &Whose,
) -> Result<Option<Found>, AccessError> {
    let device = device_of(spoken);
    let mut last: Option<(Timestamp, SessionRow)> = None;
    for owner in whose.all() {
        let is_called = whose.called.contains(&owner);
        let is_meant = |session: &SessionRow| match (session.mac, device) {
            (Some(its), Some(reported)) => its == reported,
            // A person may have several devices: this one has begun nothing else.
            _ => is_called && is_unbegun(session),
        };
        // Nothing is looked up of those that were not asked for so lately.
        let may_be_it = |session: &SessionRow| is_meant(session) && began.is_by(session.heard_at);
        let sessions = tx.last_sessions_at(spoken.nas, owner).await?;
        for session in sessions.into_iter().filter(may_be_it) {
            let words = tx.session_vendor(session.id).await?;
            let asked = Asked::of(&session, words.as_ref()).filter(|asked| {
                if is_unbegun(&session) {
                    began.is_by(asked.last)
                } else {
                    session.started_at.is_some() && began.is_upon(*asked)
                }
            });
            if let Some(asked) = asked
                && last.as_ref().is_none_or(|(before, _)| *before < asked.last)
            {
                last = Some((asked.last, session));
            }
        }
    }
    Ok(last.map(|(_, session)| {
        if is_unbegun(&session) {
            Found::Session(session.into())
        } else {
            Found::Renamed(session.into())
        }
    }))
}

#[cfg(test)]
mod tests {
    use kavadam_domain::NasId;

    use super::*;

    #[test]
    fn a_number_with_its_country_code_is_no_device() {
        let of = |user_name| {
            device_of(Spoken {
                nas: NasId(1),
                class: None,
                acct_session_id: None,
                user_name: Some(user_name),
                mac: None,
                began: None,
            })
        };
        assert_eq!(of("919876543210"), None);
        assert_eq!(of("02-11-22-33-44-55"), Some(Mac([2, 0x11, 0x22, 0x33, 0x44, 0x55])));
    }
}
