//! What one process remembers of a device for a while, to be kind: nothing breaks when it is lost.
//!
//! A login whose UAM challenge has grown old must fetch a fresh one at the gate; the ticket already made waits here
//! for the device to come back. The language chosen waits here too, since the gate's next redirect does not carry it.

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
    ticket: Option<(Ticket, Timestamp)>,
    sent: Option<(Ticket, Timestamp)>,
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

    /// Keeps a ticket while the device fetches a fresh challenge.
    pub fn keep_ticket(&self, nas: NasId, mac: Mac, ticket: Ticket, now: Timestamp) {
        self.touch((nas, mac), now, |entry| entry.ticket = Some((ticket, now)));
    }

    /// Hands the waiting ticket out, once.
    pub fn take_ticket(&self, nas: NasId, mac: Mac, now: Timestamp) -> Option<Ticket> {
        let (ticket, at) = self.lock().get_mut(&(nas, mac))?.ticket.take()?;
        (now.since(at) < TICKET_LIFETIME).then_some(ticket)
    }

    /// Keeps a ticket that was sent to the gate, in case the challenge it answers was used up by then.
    pub fn keep_sent(&self, nas: NasId, mac: Mac, ticket: Ticket, now: Timestamp) {
        self.touch((nas, mac), now, |entry| entry.sent = Some((ticket, now)));
    }

    /// Hands the ticket sent out, once, to be sent again.
    pub fn take_sent(&self, nas: NasId, mac: Mac, now: Timestamp) -> Option<Ticket> {
        let (ticket, at) = self.lock().get_mut(&(nas, mac))?.sent.take()?;
        (now.since(at) < TICKET_LIFETIME).then_some(ticket)
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
        memory.keep_ticket(NAS, MAC, ticket(), NOW);
        assert!(memory.take_ticket(NAS, Mac([2, 0, 0, 0, 0, 2]), NOW).is_none());
        assert!(memory.take_ticket(NAS, MAC, NOW).is_some());
        assert!(memory.take_ticket(NAS, MAC, NOW).is_none());
    }

    #[test]
    fn forgets_an_old_ticket_but_not_the_language() {
        let memory = Memory::default();
        memory.keep_language(NAS, MAC, Language::En, NOW);
        memory.keep_ticket(NAS, MAC, ticket(), NOW);
        let later = NOW + Duration::from_secs(46);
        assert!(memory.take_ticket(NAS, MAC, later).is_none());
        assert_eq!(memory.language(NAS, MAC, later), Some(Language::En));
        assert_eq!(memory.language(NAS, MAC, NOW + LIFETIME), None);
    }
}
