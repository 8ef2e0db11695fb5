//! Putting right what somebody else did to the elements of sessions, where the table is not ours alone.
//!
//! **What is true?** What the kernel counts and what it has forgotten; what we know of who is online, how fast, and with which number. So an element
//! that is gone while others of its session are there is put back with their time; one whose meters are gone ends, as nobody knows what it carried;
//! and what belongs to no session is removed. A session of which nothing is left that would let a packet pass looks like one whose time ran out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use super::pools::kernel_limit;
use super::sessions::key4;
use super::{Session, State};
use crate::netlink::{Element, Entry};
use crate::ruleset::set;
use crate::session::Slot;
use crate::{FirewallError, Restored};

/// Differences that are named; of the others only how many there are.
const MOST_NAMED: usize = 20;

/// What the kernel has of all sessions, by set and key.
struct Shown(BTreeMap<&'static str, HashMap<Vec<u8>, Element>>);

/// What a session's elements are like.
enum Finding {
    Intact,
    /// Elements that were gone or different, and how long the others stay, ms.
    Damaged(Vec<&'static str>, Option<u64>),
    /// Its meters, or what it is charged to.
    Lost(&'static str),
}

impl State {
    /// Compares every session with what is remembered of it, and makes it so again. `None`: nothing was different.
    pub(super) fn mend(&mut self) -> Result<Option<Restored>, FirewallError> {
        let shown = self.show()?;
        let mut differences = self.remove_strays(&shown)?;
        let mut lost = Vec::new();
        let sessions: Vec<(Slot, Session)> = self.sessions.iter().map(|(slot, one)| (*slot, one.clone())).collect();
        for (slot, session) in sessions {
            match shown.judge(slot, &session) {
                Finding::Intact => {}
                Finding::Damaged(sets, timeout_ms) => {
                    self.put_back(slot, &session, timeout_ms)?;
                    differences.push(format!("{slot} was not as it should be in {}", sets.join(", ")));
                }
                Finding::Lost(set) => {
                    self.delete_if_there(&session.elements(slot))
                        .map_err(FirewallError::kernel("remove what is left of a session"))?;
                    self.discard(slot);
                    differences.push(format!("{slot} was gone from {set}"));
                    lost.push(slot);
                }
            }
        }
        differences.extend(self.mend_filters()?);
        differences.extend(self.mend_pools()?);
        differences.extend(self.mend_leases()?);
        let more = differences.len().saturating_sub(MOST_NAMED);
        differences.truncate(MOST_NAMED);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        lost.sort();
        Ok((!differences.is_empty()).then_some(Restored { differences, lost }))
    }

    fn show(&mut self) -> Result<Shown, FirewallError> {
        let mut shown = BTreeMap::new();
        for set in [
            set::AUTH4,
            set::AUTH6,
            set::LIM_UP,
            set::LIM_DOWN,
            set::TOTAL,
            set::CNT_UP,
            set::CNT_DOWN,
        ] {
            let elements = self
                .nft
                .all_elements(set)
                .map_err(FirewallError::kernel("list sessions"))?;
            shown.insert(set, elements.into_iter().map(|one| (one.key.clone(), one)).collect());
        }
        Ok(Shown(shown))
    }

    /// Removes what would let somebody pass who is no session of ours.
    fn remove_strays(&mut self, shown: &Shown) -> Result<Vec<String>, FirewallError> {
        let mut known: HashMap<&str, Vec<Vec<u8>>> = HashMap::new();
        for (slot, session) in &self.sessions {
            for (set, key) in session.elements(*slot) {
                known.entry(set).or_default().push(key);
            }
        }
        let mut strays = Vec::new();
        for set in [set::AUTH4, set::AUTH6, set::LIM_UP, set::LIM_DOWN] {
            let known: HashSet<_> = known.remove(set).unwrap_or_default().into_iter().collect();
            let keys = shown.0.get(set).into_iter().flat_map(HashMap::keys);
            strays.extend(keys.filter(|key| !known.contains(*key)).map(|key| (set, key.clone())));
        }
        self.delete_if_there(&strays)
            .map_err(FirewallError::kernel("remove what belongs to no session"))?;
        Ok(strays
            .iter()
            .map(|(set, _)| format!("{set} had an element of no session"))
            .collect())
    }

    /// Who is out of its filter's set would go everywhere.
    fn mend_filters(&mut self) -> Result<Vec<String>, FirewallError> {
        let filtered = self.sessions.iter().filter(|(_, session)| session.filter.is_some());
        let filtered: Vec<_> = filtered
            .map(|(slot, one)| (*slot, one.filter_elements(*slot)))
            .collect();
        let mut differences = Vec::new();
        for (slot, elements) in filtered {
            let mut batch = self.nft.batch();
            for (set, key) in &elements {
                let shown = self
                    .nft
                    .elements(set, &[key])
                    .map_err(FirewallError::kernel("read a session"))?;
                if shown.is_empty() {
                    let entry = Entry {
                        key,
                        ..Entry::default()
                    };
                    batch.add(set, &entry);
                    differences.push(format!("{slot} was gone from {set}"));
                }
            }
            self.nft
                .commit(batch)
                .map_err(FirewallError::kernel("put a session back"))?;
        }
        Ok(differences)
    }

    /// A quota that was set back or changed would let more pass than was granted.
    fn mend_pools(&mut self) -> Result<Vec<String>, FirewallError> {
        let mut differences = Vec::new();
        let pools = self.pools.iter().filter(|(_, pool)| !pool.slots.is_empty());
        let pools: Vec<_> = pools
            .map(|(key, pool)| (*key, kernel_limit(pool.limit_octets)))
            .collect();
        for (key, limit_octets) in pools {
            // Read first, so that what passes meanwhile makes no difference.
            let used_octets = self.pool_used(key)?;
            let shown = self
                .nft
                .quota(&key.name())
                .map_err(FirewallError::kernel("read a quota"))?;
            if shown.limit_octets != limit_octets || shown.used_octets < used_octets.min(limit_octets) {
                self.exchange_closed(key, limit_octets)?;
                differences.push(format!("{key} had another limit, or was set back"));
            }
        }
        Ok(differences)
    }

    fn mend_leases(&mut self) -> Result<Option<String>, FirewallError> {
        let shown = self
            .nft
            .all_elements(set::LEASES)
            .map_err(FirewallError::kernel("list leases"))?;
        let now = Instant::now();
        let addresses = self.leases.values().flat_map(BTreeMap::values);
        let known = addresses.filter(|until| until.is_none_or(|until| until > now)).count();
        let missing = known.saturating_sub(shown.len());
        if missing == 0 {
            return Ok(None);
        }
        self.admit_known()?;
        Ok(Some(format!("{missing} leases were gone")))
    }

    /// Makes what lets a session pass anew, in one transaction; its meters stay.
    fn put_back(&mut self, slot: Slot, session: &Session, timeout_ms: Option<u64>) -> Result<(), FirewallError> {
        let mut stale = session.expiring(slot);
        stale.push((set::LIM_UP, slot.0.to_ne_bytes().to_vec()));
        let mut batch = self.nft.batch();
        for (set, key) in &stale {
            let present = self.nft.elements(set, &[key]);
            if !present.map_err(FirewallError::kernel("read a session"))?.is_empty() {
                batch.delete(set, key);
            }
        }
        session.add_lim_up(slot, self.burst_octets, &mut batch);
        session.add_lim_down(slot, self.burst_octets, timeout_ms, &mut batch);
        session.add_gate(slot, timeout_ms, &mut batch);
        self.nft
            .commit(batch)
            .map_err(FirewallError::kernel("put a session back"))
    }
}

impl Shown {
    fn of(&self, set: &str, key: &[u8]) -> Option<&Element> {
        self.0.get(set)?.get(key)
    }

    fn judge(&self, slot: Slot, session: &Session) -> Finding {
        let mark = slot.0.to_ne_bytes();
        for set in [set::TOTAL, set::CNT_UP, set::CNT_DOWN] {
            if self.of(set, &mark).is_none() {
                return Finding::Lost(set);
            }
        }
        let pool = session.pool.name();
        if self.of(set::TOTAL, &mark).and_then(|one| one.object.as_ref()) != Some(&pool) {
            return Finding::Lost(set::TOTAL);
        }
        let leads_here = |one: &Element| one.data.as_deref() == Some(mark.as_slice());
        let mut damaged = Vec::new();
        let mut left: Vec<&Element> = Vec::new();
        let mut look = |set, key: &[u8], is_right: &dyn Fn(&Element) -> bool| match self.of(set, key) {
            Some(one) if is_right(one) => left.push(one),
            _ => damaged.push(set),
        };
        if let Some(ipv4) = session.ipv4 {
            look(set::AUTH4, &key4(session.mac, ipv4), &leads_here);
        }
        look(set::AUTH6, &session.mac.0, &leads_here);
        look(set::LIM_DOWN, &mark, &|one| one.limit_octets == session.down);
        // Without anything that ends with the session: its time is up.
        let Some(timeout_ms) = left.iter().map(|one| one.expires_ms).min() else {
            return Finding::Intact;
        };
        if self
            .of(set::LIM_UP, &mark)
            .is_none_or(|one| one.limit_octets != session.up)
        {
            damaged.push(set::LIM_UP);
        }
        if damaged.is_empty() {
            Finding::Intact
        } else {
            Finding::Damaged(damaged, timeout_ms)
        }
    }
}
