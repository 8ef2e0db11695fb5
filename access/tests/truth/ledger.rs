//! What must hold between the truth and the centre's books.

use kavadam_domain::session::SessionState;

use super::*;

impl Model {
    async fn note_debts(&mut self) {
        let mut tx = self.lab.store.read().await.unwrap();
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            let gate = self.gates[session.gate];
            let granted = tx.session(session.id).await.unwrap().unwrap();
            let mut by_name = tx.session_at(gate, None, Some(&session.name)).await.unwrap();
            if by_name.is_none() {
                let ended = tx.ended_session_named(gate, &session.name, granted.subscriber_id);
                by_name = ended.await.unwrap();
            }
            let is_known = by_name.is_some();
            // One that goes on under a new name stands and falls with the grant until the centre hears the name.
            let known = match by_name {
                Some(known) => known,
                None => granted,
            };
            if known.state != SessionState::Ended {
                // Promised again.
                self.sessions[index].is_written_off = false;
                continue;
            }
            if session.is_written_off {
                continue;
            }
            let charged = if is_known { known.meter().total_octets() } else { 0 };
            let of_its_day = (session.person, self.day_of(session.began));
            let held = if session.is_online { self.promised(index) } else { 0 };
            *self.debt.entry(of_its_day).or_default() += session.passed - charged + held;
            self.sessions[index].is_written_off = true;
        }
    }

    /// Never more than there is; never charged what did not flow, nor twice; nothing promised to nobody.
    pub async fn check(&mut self) {
        self.note_debts().await;
        for person in 0..2 {
            let today = (person, self.day());
            let of_today = |octets: &HashMap<_, u64>| octets.get(&today).copied().unwrap_or(0);
            let passed = of_today(&self.passed);
            let free = self.free_of(person);
            let most = self.quota + of_today(&self.topped_up) + of_today(&self.debt);
            let at_full_speed = passed - of_today(&self.slowed);
            assert!(
                at_full_speed + free <= most,
                "{at_full_speed} passed, {free} free, of {most}"
            );
            self.check_charges(person).await;
        }
    }

    async fn check_charges(&mut self, person: usize) {
        let mut days: BTreeSet<Timestamp> = self.passed.keys().map(|(_, day)| *day).collect();
        days.insert(self.day());
        let (id, number) = &self.people[person];
        let mut in_all = 0;
        for day in days {
            // Looked at as of that day's noon.
            let noon = day + Duration::from_hours(12);
            let view = self.lab.access.subscriber(number, noon).await.unwrap().unwrap();
            let passed = self.passed.get(&(person, day)).copied().unwrap_or(0);
            assert!(view.used_octets <= passed, "{} charged of {passed}", view.used_octets);
            let before = self.charged.insert((person, day), view.used_octets).unwrap_or(0);
            assert!(view.used_octets >= before, "what was used never decreases");
            in_all += view.used_octets;
            let mut tx = self.lab.store.read().await.unwrap();
            if tx.live_sessions_of(*id).await.unwrap().is_empty() {
                assert_eq!(view.leased_octets, 0, "promised to nobody");
            }
        }
        let reported: u64 = self
            .sessions
            .iter()
            .filter(|session| session.person == person)
            .map(|session| session.reported)
            .sum();
        assert_eq!(in_all, reported, "whatever was reported is charged");
    }

    /// Octets of sessions whose end nobody heard of.
    fn untold(&self, person: usize, day: Timestamp) -> u64 {
        let of_the_day = |one: &&Session| one.person == person && self.day_of(one.began) == day;
        let sessions = self.sessions.iter().filter(of_the_day);
        sessions.map(|one| one.passed - one.reported).sum()
    }

    /// Nothing is open, nothing promised, and each day has what flowed in it.
    pub async fn check_end(&mut self) {
        self.check().await;
        for (person, (id, number)) in self.people.iter().enumerate() {
            let mut tx = self.lab.store.read().await.unwrap();
            assert_eq!(tx.live_sessions_of(*id).await.unwrap(), []);
            drop(tx);
            for ((_, day), passed) in self.passed.iter().filter(|((other, _), _)| *other == person) {
                let view = self.lab.access.subscriber(number, *day).await.unwrap().unwrap();
                let untold = self.untold(person, *day);
                assert_eq!(
                    (view.used_octets, view.leased_octets),
                    (*passed - untold, 0),
                    "charged as it flowed, but for {untold} of which nothing was told"
                );
            }
        }
    }
}
