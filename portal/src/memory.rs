//! What one process remembers of a device for a while, to be kind: nothing breaks when it is lost.
//!
//! A login whose UAM challenge has grown old must fetch a fresh one at the gate; the ticket already made waits here
//! for the device to come back. At a portal that does not see devices, anybody may have typed the code into somebody else's link: there the ticket
//! waits for the browser that did, which brings back the mark that it was given on its way. The language chosen waits here too, since the gate's next redirect does not carry it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavadam_access::api::Ticket;
use kavadam_domain::{Language, Mac, NasId, Timestamp};

/// A device at a gate.
type Key = (NasId, Mac);

/// About 10 MB at most.
const MOST: usize = 50_000;
/// A ticket lives a minute; the device is back from the gate within seconds.
const TICKET_LIFETIME: Duration = Duration::from_secs(45);
/// As long as a visit.
const LIFETIME: Duration = Duration::from_hours(12);

#[derive(Clone)]
struct Entry {
    at: Timestamp,
    language: Option<Language>,
    ticket: Option<Kept>,
    sent: Option<Kept>,
}

#[derive(Clone)]
struct Kept {
    ticket: Ticket,
    mark: Option<String>,
    at: Timestamp,
}

/// Hands a ticket out, once, to whoever brings its mark, if it has one.
fn hand_out(kept: &mut Option<Kept>, mark: Option<&str>, now: Timestamp) -> Option<Ticket> {
    let is_theirs = |kept: &mut Kept| kept.mark.is_none() || kept.mark.as_deref() == mark;
    let kept = kept.take_if(is_theirs)?;
    (now.since(kept.at) < TICKET_LIFETIME).then_some(kept.ticket)
}

/// See the module.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<Key, Entry>>);

impl Memory {
    /// Keeps the language a person chose.
    pub fn keep_language(&self, nas: NasId, mac: Mac, language: Language, now: Timestamp) {
        self.touch((nas, mac), now, |entry| entry.language = Some(language));
    }

    /// The language chosen on this device.
    pub fn language(&self, nas: NasId, mac: Mac, now: Timestamp) -> Option<Language> {
        let entries = self.lock();
        let entry = entries.get(&(nas, mac))?;
        (now.since(entry.at) < LIFETIME).then_some(entry.language)?
    }

    /// Keeps a ticket while the device fetches a fresh challenge; with a mark, for nobody but who brings that.
    pub fn keep_ticket(&self, nas: NasId, mac: Mac, ticket: Ticket, mark: Option<String>, now: Timestamp) {
        let at = now;
        self.touch((nas, mac), now, |entry| entry.ticket = Some(Kept { ticket, mark, at }));
    }

    /// Hands the waiting ticket out, once.
    pub fn take_ticket(&self, nas: NasId, mac: Mac, mark: Option<&str>, now: Timestamp) -> Option<Ticket> {
        hand_out(&mut self.lock().get_mut(&(nas, mac))?.ticket, mark, now)
    }

    /// Keeps a ticket that was sent to the gate, in case the challenge it answers was used up by then.
    pub fn keep_sent(&self, nas: NasId, mac: Mac, ticket: Ticket, mark: Option<String>, now: Timestamp) {
        let at = now;
        self.touch((nas, mac), now, |entry| entry.sent = Some(Kept { ticket, mark, at }));
    }

    /// Hands the ticket sent out, once, to be sent again.
    pub fn take_sent(&self, nas: NasId, mac: Mac, mark: Option<&str>, now: Timestamp) -> Option<Ticket> {
        hand_out(&mut self.lock().get_mut(&(nas, mac))?.sent, mark, now)
    }

    fn touch(&self, key: Key, now: Timestamp, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        if entries.len() >= MOST && !entries.contains_key(&key) {
            entries.retain(|_, entry| now.since(entry.at) < LIFETIME);
            if entries.len() >= MOST {
                return;
            }
        }
        let entry = entries.entry(key).or_insert(Entry {
            at: now,
            language: None,
            ticket: None,
            sent: None,
        });
        entry.at = now;
        change(entry);
    }

    /// A panic elsewhere leaves whole entries behind: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAS: NasId = NasId(1);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn ticket() -> Ticket {
        Ticket {
            user_name: "t-1".into(),
            password: "p".to_owned().into(),
        }
    }

    #[test]
    fn hands_a_ticket_out_once() {
        let memory = Memory::default();
        memory.keep_ticket(NAS, MAC, ticket(), None, NOW);
        assert!(memory.take_ticket(NAS, Mac([2, 0, 0, 0, 0, 2]), None, NOW).is_none());
        assert!(memory.take_ticket(NAS, MAC, None, NOW).is_some());
        assert!(memory.take_ticket(NAS, MAC, None, NOW).is_none());
    }

    #[test]
    fn hands_a_marked_ticket_to_its_mark_alone() {
        let memory = Memory::default();
        memory.keep_ticket(NAS, MAC, ticket(), Some("mark".into()), NOW);
        memory.keep_sent(NAS, MAC, ticket(), Some("mark".into()), NOW);
        for other in [None, Some(""), Some("another")] {
            assert!(memory.take_ticket(NAS, MAC, other, NOW).is_none());
            assert!(memory.take_sent(NAS, MAC, other, NOW).is_none());
        }
        assert!(memory.take_ticket(NAS, MAC, Some("mark"), NOW).is_some());
        assert!(memory.take_sent(NAS, MAC, Some("mark"), NOW).is_some());
    }

    #[test]
    fn forgets_an_old_ticket_but_not_the_language() {
        let memory = Memory::default();
        memory.keep_language(NAS, MAC, Language::En, NOW);
        memory.keep_ticket(NAS, MAC, ticket(), None, NOW);
        let later = NOW + Duration::from_secs(46);
        assert!(memory.take_ticket(NAS, MAC, None, later).is_none());
        assert_eq!(memory.language(NAS, MAC, later), Some(Language::En));
        assert_eq!(memory.language(NAS, MAC, NOW + LIFETIME), None);
    }
}
