//! Devices as people ask about them.

use kavadam_domain::Mac;

use super::session::Session;
use super::{Core, Now};
use crate::onlook::{Known, Standing};

impl<K> Core<K> {
    /// Every session, ending ones too. Without a look at the kernel: idle times are as of the last reading of the meters.
    pub fn known(&self, now: Now) -> Vec<Known> {
        self.sessions.values().map(|session| known(session, now)).collect()
    }

    /// What is known of one device.
    pub fn standing(&self, mac: Mac, now: Now) -> Standing {
        let session = self.by_mac.get(&mac).and_then(|slot| self.sessions.get(slot));
        let refused = self.refused.get(&mac);
        let refused = refused.map(|until| until.saturating_duration_since(now.mono).as_secs());
        Standing {
            known: session.map(|session| known(session, now)),
            is_asking: self.login_of.contains_key(&mac) || self.opening_of.contains_key(&mac),
            refused_for_secs: refused.filter(|secs| *secs > 0),
            seen_in_turns_at: Vec::new(),
            asks_in_turns: false,
        }
    }
}

fn known(session: &Session, now: Now) -> Known {
    Known {
        mac: session.row.mac,
        id: session.row.id.clone(),
        person: session.row.user_name.clone(),
        idle_secs: now.mono.saturating_duration_since(session.active_at).as_secs(),
        is_ending: !session.is_online(),
    }
}
