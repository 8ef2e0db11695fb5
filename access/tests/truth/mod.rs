//! The gates of the model as they truly are: what they let through, report, and make of answers and orders.

use super::*;

impl Model {
    /// Gates end what is over in time.
    pub(super) fn pass(&mut self, secs: u32) {
        for _ in 0..secs {
            self.lab.pass(Duration::from_secs(1));
            for index in 0..self.sessions.len() {
                if self.sessions[index].is_online && self.sessions[index].ends_at() <= self.lab.now {
                    self.end(index, 5);
                }
            }
        }
    }

    pub(super) fn online(&self, pick: u8) -> Option<usize> {
        let online: Vec<usize> = (0..self.sessions.len())
            .filter(|index| self.sessions[*index].is_online)
            .collect();
        (!online.is_empty()).then(|| online[usize::from(pick) % online.len()])
    }

    /// What the gates would still let through for a session, and those it shares with.
    pub(super) fn free(&self, index: usize) -> u64 {
        let session = &self.sessions[index];
        if session.gate != SHARING {
            return session.limit().saturating_sub(session.passed);
        }
        let (mut granted, mut passed) = self.retired[session.person];
        for other in self.pool(session.person) {
            granted += other.limit();
            passed += other.passed;
        }
        granted.saturating_sub(passed)
    }

    pub(super) fn pool(&self, person: usize) -> impl Iterator<Item = &Session> {
        let sessions = self.sessions.iter();
        sessions.filter(move |session| session.is_online && session.gate == SHARING && session.person == person)
    }

    /// What all gates together would still let through for a person.
    pub(super) fn free_of(&self, person: usize) -> u64 {
        let of = |index: &usize| self.sessions[*index].is_online && self.sessions[*index].person == person;
        let all: Vec<usize> = (0..self.sessions.len()).filter(of).collect();
        let shared = all.iter().find(|index| self.sessions[**index].gate == SHARING);
        let alone = all.iter().filter(|index| self.sessions[**index].gate != SHARING);
        alone.chain(shared).map(|index| self.free(*index)).sum()
    }

    pub(super) fn request(
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
            acct_session_id: Some(name.to_owned()),
            class,
            wants_cui: true,
            seen: Seen::default(),
        }
    }

    pub(super) async fn log_in(&mut self, device: u8, gate: usize, is_lost: bool) {
        let is_same = |one: &Session| one.is_online && one.device == device && one.gate == gate;
        if self.sessions.iter().any(is_same) {
            return;
        }
        self.names += 1;
        let name = format!("{gate}-{}", self.names);
        let request = self.request(device, gate, Service::CallCheck, &name, None);
        let decision = self.lab.access.authorize(request, self.lab.now).await.unwrap();
        let (Decision::Accept(grant), false) = (decision, is_lost) else {
            return;
        };
        assert_eq!(grant.is_renewable, gate == SHARING);
        self.sessions.push(Session {
            id: grant.session,
            person: person_of(device),
            device,
            gate,
            name,
            class: grant.class,
            limits: grant.limits,
            passed: 0,
            began: self.lab.now,
            is_online: true,
            is_written_off: false,
        });
        let report = self.report(self.sessions.len() - 1, AccountingKind::Start);
        self.reports.push(report);
    }

    pub(super) fn flow(&mut self, pick: u8, octets: u64) {
        let Some(index) = self.online(pick) else { return };
        let octets = octets.min(self.free(index));
        self.sessions[index].passed += octets;
        *self
            .passed
            .entry((self.sessions[index].person, self.day()))
            .or_default() += octets;
    }

    pub(super) fn report(&self, index: usize, kind: AccountingKind) -> AccountingReport {
        let session = &self.sessions[index];
        AccountingReport {
            nas: self.gates[session.gate],
            kind,
            acct_session_id: session.name.clone(),
            class: Some(session.class.clone()),
            user_name: None,
            mac: Some(mac(session.device)),
            ip: None,
            counters: Counters {
                down_octets: session.passed,
                session_secs: u32::try_from(self.lab.now.since(session.began).as_secs()).unwrap(),
                ..Counters::default()
            },
            at: self.lab.now,
        }
    }

    pub(super) async fn deliver(&mut self, pick: u8, fate: u8) {
        if self.reports.is_empty() {
            return;
        }
        let index = usize::from(pick) % self.reports.len();
        let report = self.reports[index].clone();
        let is_stop = matches!(report.kind, AccountingKind::Stop(_));
        let is_lost = fate.is_multiple_of(8) && !is_stop;
        if !is_lost {
            let accounted = self.lab.access.account(report, self.lab.now).await.unwrap();
            assert!(matches!(accounted, Accounted::Charged(_)), "{accounted:?}");
        }
        if fate % 8 != 1 {
            self.reports.remove(index);
        }
    }

    pub(super) async fn renew(&mut self, pick: u8, is_lost: bool) {
        let Some(index) = self.online(pick).filter(|index| self.sessions[*index].gate == SHARING) else {
            return;
        };
        let session = &self.sessions[index];
        let class = Some(session.class.clone());
        let request = self.request(session.device, session.gate, Service::Renewal, &session.name, class);
        match self.lab.access.authorize(request, self.lab.now).await.unwrap() {
            _ if is_lost => {}
            Decision::Accept(grant) => self.sessions[index].limits = grant.limits,
            Decision::Reject { .. } if self.free(index) == 0 => self.end(index, 10),
            Decision::Reject { .. } => {}
        }
    }

    /// The gate ends a session, and will say so.
    pub(super) fn end(&mut self, index: usize, cause: u32) {
        let stop = self.report(index, AccountingKind::Stop(cause));
        self.reports.push(stop);
        let session = &mut self.sessions[index];
        session.is_online = false;
        let (person, gate, granted, passed) = (session.person, session.gate, session.limit(), session.passed);
        if gate == SHARING {
            let retired = &mut self.retired[person];
            *retired = (retired.0 + granted, retired.1 + passed);
            if self.pool(person).next().is_none() {
                self.retired[person] = (0, 0);
            }
        }
    }

    pub(super) async fn restart(&mut self, gate: usize) {
        for index in 0..self.sessions.len() {
            if self.sessions[index].is_online && self.sessions[index].gate == gate {
                self.end(index, 11);
            }
        }
        let on = AccountingReport {
            nas: self.gates[gate],
            kind: AccountingKind::On,
            acct_session_id: String::new(),
            class: None,
            user_name: None,
            mac: None,
            ip: None,
            counters: Counters::default(),
            at: self.lab.now,
        };
        self.lab.access.account(on, self.lab.now).await.unwrap();
    }

    pub(super) async fn send_orders(&mut self, whim: u8) {
        for order in self.lab.orders().await {
            let is_it = |one: &Session| one.is_online && one.name == order.acct_session_id;
            let Some(index) = self.sessions.iter().position(is_it) else {
                self.answers.push((order, OrderAnswer::SessionGone));
                continue;
            };
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
