//! What gates let through, report, and make of answers and orders.

use kavadam_access::batch::{Answer, Question};

use super::*;

/// Between a gate's clock and ours.
const BEHIND: Duration = Duration::from_secs(45);
const AHEAD: Duration = Duration::from_secs(3);

impl Model {
    fn online(&self, pick: u8) -> Option<usize> {
        self.online_where(pick, |_| true)
    }

    pub fn online_where(&self, pick: u8, is_meant: impl Fn(&Session) -> bool) -> Option<usize> {
        let online: Vec<usize> = (0..self.sessions.len())
            .filter(|index| self.sessions[*index].is_online && is_meant(&self.sessions[*index]))
            .collect();
        (!online.is_empty()).then(|| online[usize::from(pick) % online.len()])
    }

    /// What the gates would still let through at full speed for a session and those it shares with; `None`: slowed, without end.
    pub fn free(&self, index: usize) -> Option<u64> {
        let session = &self.sessions[index];
        if session.gate != SHARING {
            return Some(session.limit()?.saturating_sub(session.passed));
        }
        let (mut granted, mut passed) = self.retired[session.person];
        for other in self.pool(session.person) {
            granted += other.limit()?;
            passed += other.passed;
        }
        Some(granted.saturating_sub(passed))
    }

    /// Likewise, had each gate heard what it was answered and ordered: what the centre has promised, and may give to others.
    pub fn promised(&self, index: usize) -> u64 {
        let session = &self.sessions[index];
        if session.gate != SHARING {
            return session.offered.saturating_sub(session.passed);
        }
        let (mut offered, mut passed) = self.retired[session.person];
        offered += self.unheard[session.person];
        for other in self.pool(session.person) {
            offered += other.offered;
            passed += other.passed;
        }
        offered.saturating_sub(passed)
    }

    fn pool(&self, person: usize) -> impl Iterator<Item = &Session> {
        let sessions = self.sessions.iter();
        sessions.filter(move |session| session.is_online && session.gate == SHARING && session.person == person)
    }

    /// What all gates together would still let through for a person at full speed.
    pub fn free_of(&self, person: usize) -> u64 {
        let of = |index: &usize| self.sessions[*index].is_online && self.sessions[*index].person == person;
        let all: Vec<usize> = (0..self.sessions.len()).filter(of).collect();
        let shared = all.iter().find(|index| self.sessions[**index].gate == SHARING);
        let alone = all.iter().filter(|index| self.sessions[**index].gate != SHARING);
        alone.chain(shared).filter_map(|index| self.free(*index)).sum()
    }

    fn request(
        &self,
        device: u8,
        gate: usize,
        service: Service,
        name: &str,
        class: Option<Vec<u8>>,
    ) -> AuthorizeRequest {
        AuthorizeRequest {
            nas: self.gates[gate],
            user_name: mac(device).to_string(),
            service,
            mac: Some(mac(device)),
            ip: None,
            acct_session_id: (gate != UNTIED && gate != CLASSED).then(|| name.to_owned()),
            class,
            wants_cui: true,
            seen: Seen::default(),
        }
    }

    pub async fn log_in(&mut self, device: u8, gate: usize, is_lost: bool) {
        let is_same = |one: &Session| one.device == device && one.gate == gate;
        // Of two sessions of which nothing was heard nobody could tell which is which.
        let is_in_doubt = |one: &Session| one.is_online || gate == UNTIED && !one.is_known;
        if self.sessions.iter().any(|one| is_same(one) && is_in_doubt(one)) {
            return;
        }
        let name = self.fresh_name(gate);
        let request = self.request(device, gate, Service::CallCheck, &name, None);
        let decision = self.lab.access.authorize(request, self.lab.now).await.unwrap();
        let (Decision::Accept(grant), false) = (decision, is_lost) else {
            return;
        };
        assert_eq!(grant.is_renewable, gate == SHARING);
        let person = self.owners[usize::from(device)];
        self.begin(self.granted(person, device, gate, name, grant));
    }

    pub fn fresh_name(&mut self, gate: usize) -> String {
        self.names[gate] += 1;
        format!("{:08x}", self.names[gate])
    }

    fn granted(&self, person: usize, device: u8, gate: usize, name: String, grant: Grant) -> Session {
        Session {
            id: grant.session,
            person,
            device,
            gate,
            name,
            class: grant.class,
            limits: grant.limits,
            offered: grant.limits.max_total_octets.unwrap_or(0),
            passed: 0,
            passed_before: 0,
            counted_from: self.lab.now,
            began: self.lab.now,
            ends_by: None,
            is_online: true,
            is_known: false,
            reported: 0,
            is_written_off: false,
        }
    }

    /// A device that is online at a vendor's gate is proven once more. The gate goes on with its session, or begins another, and tells the end
    /// of the one before or does not.
    pub async fn log_in_again(&mut self, pick: u8, whim: u8) {
        let Some(index) = self.online_where(pick, |session| session.gate != SHARING) else {
            return;
        };
        let session = &self.sessions[index];
        let (person, device, gate) = (session.person, session.device, session.gate);
        let goes_on = session.is_unnamed() && whim.is_multiple_of(2);
        let is_in_doubt = gate == UNTIED && !goes_on && !session.is_known;
        if self.owners[usize::from(device)] != person || is_in_doubt {
            return;
        }
        let name = if goes_on {
            session.name.clone()
        } else {
            self.fresh_name(gate)
        };
        let request = self.request(device, gate, Service::CallCheck, &name, None);
        let decision = self.lab.access.authorize(request, self.lab.now).await.unwrap();
        let is_lost = whim.is_multiple_of(7);
        match decision {
            Decision::Accept(grant) if goes_on => self.go_on(index, grant, is_lost),
            Decision::Accept(grant) => {
                let of_today = (person, self.day());
                let is_told_of_both = self.sessions[index].is_unnamed();
                if is_told_of_both {
                    self.sessions[index].note_offer(&grant.limits);
                    // What the one before has passed is let through again, until the gate is told otherwise.
                    *self.debt.entry(of_today).or_default() += self.sessions[index].passed;
                }
                if is_lost {
                    return;
                }
                self.end_or_vanish(index, whim);
                let ends_by = is_told_of_both.then(|| self.plan().window(self.lab.now).unwrap().end.unwrap());
                let successor = self.granted(person, device, gate, name, grant);
                self.begin(Session { ends_by, ..successor });
            }
            Decision::Reject { .. } if is_lost => {}
            Decision::Reject { .. } => self.end_or_vanish(index, whim),
        }
    }

    /// With what it was told, which is of the session that goes on; or of another, if the centre held that for ended.
    fn go_on(&mut self, index: usize, grant: Grant, is_lost: bool) {
        let of_today = (self.sessions[index].person, self.day());
        let session = &mut self.sessions[index];
        session.note_offer(&grant.limits);
        if session.is_written_off {
            *self.debt.entry(of_today).or_default() += grant.limits.max_total_octets.unwrap_or(0);
        }
        if !is_lost {
            session.class = grant.class;
            session.limits = grant.limits;
            session.ends_by = Some(session.ends_at());
        }
    }

    fn end_or_vanish(&mut self, index: usize, whim: u8) {
        if whim.is_multiple_of(3) {
            self.leave(index);
        } else {
            self.end(index, 1);
        }
    }

    /// The gate says nothing of a session's end, or nobody hears it.
    pub fn vanish(&mut self, pick: u8) {
        if let Some(index) = self.online_where(pick, |session| session.gate != SHARING) {
            self.leave(index);
        }
    }

    pub fn begin(&mut self, session: Session) {
        self.sessions.push(session);
        self.send(self.sessions.len() - 1, AccountingKind::Start, false);
    }

    pub fn flow(&mut self, pick: u8, octets: u64) {
        if let Some(index) = self.online(pick) {
            self.flow_at(index, octets);
        }
    }

    pub fn flow_at(&mut self, index: usize, octets: u64) {
        let free = self.free(index);
        let session = &self.sessions[index];
        let octets = match (session.gate, free) {
            // Counters of 32 bits tell nothing if they go half round between two reports.
            (NARROW, free) => {
                let most = (session.reported + (1 << 31)).saturating_sub(session.passed);
                octets.min(most).min(free.unwrap_or(u64::MAX))
            }
            (CARELESS, _) | (_, None) => octets,
            (_, Some(free)) => octets.min(free),
        };
        let of_today = (session.person, self.day());
        *self.passed.entry(of_today).or_default() += octets;
        match free {
            None => *self.slowed.entry(of_today).or_default() += octets,
            Some(free) => *self.debt.entry(of_today).or_default() += octets.saturating_sub(free),
        }
        self.sessions[index].passed += octets;
    }

    pub fn report_one(&mut self, pick: u8) {
        if let Some(index) = self.online(pick) {
            self.send(index, AccountingKind::Interim, false);
        }
    }

    pub fn send(&mut self, index: usize, kind: AccountingKind, is_sure: bool) {
        let passed = self.sessions[index].passed;
        self.send_of(index, kind, passed, is_sure);
    }

    fn send_of(&mut self, index: usize, kind: AccountingKind, passed: u64, is_sure: bool) {
        let session = &self.sessions[index];
        let counted = passed - session.passed_before;
        let (up, down) = (counted / 8, counted - counted / 8);
        let narrow = |octets: u64| {
            if session.gate == NARROW {
                octets & u64::from(u32::MAX)
            } else {
                octets
            }
        };
        let report = AccountingReport {
            nas: self.gates[session.gate],
            from: None,
            kind,
            acct_session_id: session.name.clone(),
            // One gives no Class back: what comes after a session's end is then known by its name and device alone.
            class: (session.gate != NARROW && session.gate != UNTIED).then(|| session.class.clone()),
            user_name: None,
            mac: Some(mac(session.device)),
            ip: None,
            ports: None,
            free: None,
            counters: Counters {
                up_octets: narrow(up),
                down_octets: narrow(down),
                session_secs: u32::try_from(self.lab.now.since(session.counted_from).as_secs()).unwrap(),
                has_gigawords: session.gate != NARROW,
                ..Counters::default()
            },
            at: match session.gate {
                NARROW | UNTIED => self.lab.now - BEHIND,
                RENUMBERING => self.lab.now + AHEAD,
                _ => self.lab.now,
            },
        };
        self.reports.push(Sent {
            report,
            session: index,
            passed,
            is_sure,
        });
    }

    pub async fn deliver(&mut self, pick: u8, fate: u8) {
        if self.reports.is_empty() {
            return;
        }
        let index = usize::from(pick) % self.reports.len();
        let sent = self.reports[index].clone();
        let is_lost = fate.is_multiple_of(8) && !sent.is_sure;
        if !is_lost {
            let accounted = self
                .lab
                .access
                .account(sent.report.clone(), self.lab.now)
                .await
                .unwrap();
            self.arrived(&sent, accounted);
        }
        if fate % 8 != 1 {
            self.reports.remove(index);
        }
    }

    /// At one moment, decided in one go.
    pub async fn deliver_many(&mut self, picks: &[u8]) {
        let picked: Vec<Sent> = picks
            .iter()
            .filter(|_| !self.reports.is_empty())
            .map(|pick| self.reports[usize::from(*pick) % self.reports.len()].clone())
            .collect();
        let questions = picked
            .iter()
            .map(|sent| Question::Account(sent.report.clone()))
            .collect();
        let answers = self.lab.access.answer(questions, self.lab.now).await;
        for (sent, answer) in picked.iter().zip(answers) {
            match answer.unwrap() {
                Answer::Accounted(accounted) => self.arrived(sent, accounted),
                Answer::Decision(decision) => panic!("{decision:?}"),
            }
        }
    }

    pub fn arrived(&mut self, sent: &Sent, accounted: Accounted) {
        assert!(matches!(accounted, Accounted::Charged(_)), "{accounted:?}");
        self.sessions[sent.session].is_known = true;
        let reported = &mut self.sessions[sent.session].reported;
        let news = sent.passed.saturating_sub(*reported);
        assert_eq!(accounted, Accounted::Charged(news), "each octet once, and at once");
        *reported += news;
    }

    pub async fn renew(&mut self, pick: u8, is_lost: bool) {
        let Some(index) = self.online_where(pick, |session| session.gate == SHARING) else {
            return;
        };
        let session = &self.sessions[index];
        let class = Some(session.class.clone());
        let request = self.request(session.device, session.gate, Service::Renewal, &session.name, class);
        let decision = self.lab.access.authorize(request, self.lab.now).await.unwrap();
        if let Decision::Accept(grant) = &decision {
            self.sessions[index].note_offer(&grant.limits);
        }
        match decision {
            _ if is_lost => {}
            Decision::Accept(grant) => self.sessions[index].limits = grant.limits,
            Decision::Reject { .. } if self.free(index) == Some(0) => self.end(index, 10),
            Decision::Reject { .. } => {}
        }
    }

    pub fn stop(&mut self, pick: u8, twice: bool) {
        let Some(index) = self.online(pick) else { return };
        // Once counters began anew, what is older tells nothing new: such a gate says no less at its end.
        if twice && self.sessions[index].passed_before == 0 {
            let half = self.sessions[index].passed / 2;
            self.send_of(index, AccountingKind::Stop(1), half, true);
        }
        self.end(index, 1);
    }

    /// The gate ends a session, and will say so.
    pub fn end(&mut self, index: usize, cause: u32) {
        self.send(index, AccountingKind::Stop(cause), true);
        self.leave(index);
    }

    pub fn leave(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        session.is_online = false;
        let (person, gate, granted, passed) = (session.person, session.gate, session.limit(), session.passed);
        let unheard = session.offered.saturating_sub(granted.unwrap_or(0));
        if gate == SHARING {
            let retired = &mut self.retired[person];
            *retired = (retired.0 + granted.unwrap_or(0), retired.1 + passed);
            self.unheard[person] += unheard;
            if self.pool(person).next().is_none() {
                self.retired[person] = (0, 0);
                self.unheard[person] = 0;
            }
        }
    }

    pub async fn send_orders(&mut self, whim: u8) {
        for order in self.lab.orders().await {
            let is_it =
                |one: &Session| one.is_online && self.gates[one.gate] == order.nas && one.name == order.acct_session_id;
            let Some(index) = self.sessions.iter().position(is_it) else {
                self.answers.push((order, OrderAnswer::SessionGone));
                continue;
            };
            if let OrderAction::Change(limits) = &order.action {
                self.sessions[index].note_offer(limits);
            }
            let (obeys, answer) = match whim % 5 {
                0 => (true, OrderAnswer::Silence),
                1 => (false, OrderAnswer::Silence),
                2 => (false, OrderAnswer::Refused(404)),
                _ => (true, OrderAnswer::Done),
            };
            match order.action {
                OrderAction::End if obeys => self.end(index, 6),
                OrderAction::Change(limits) if obeys => self.sessions[index].limits = limits,
                OrderAction::End | OrderAction::Change(_) => {}
            }
            self.answers.push((order, answer));
        }
    }
}
