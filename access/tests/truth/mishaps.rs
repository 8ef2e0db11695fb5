//! What befalls gates: they number their sessions anew, count from nothing again, and restart.

use super::*;

impl Model {
    pub fn renumber(&mut self, pick: u8, stops: bool) {
        let Some(index) = self.online_where(pick, |session| session.gate == RENUMBERING) else {
            return;
        };
        let kind = if stops {
            AccountingKind::Stop(1)
        } else {
            AccountingKind::Interim
        };
        self.send(index, kind, true);
        self.leave(index);
        let name = self.fresh_name(RENUMBERING);
        let old = &self.sessions[index];
        let left = old.ends_at().since(self.lab.now);
        let follower = Session {
            name,
            class: old.class.clone(),
            limits: Limits {
                max_total_octets: old.limit().map(|limit| limit.saturating_sub(old.passed)),
                session_secs: Some(u32::try_from(left.as_secs()).unwrap()),
                ..old.limits
            },
            offered: old.offered.saturating_sub(old.passed),
            passed: 0,
            passed_before: 0,
            counted_from: self.lab.now,
            began: self.lab.now,
            is_online: true,
            is_known: false,
            reported: 0,
            is_written_off: false,
            ..*old
        };
        self.begin(follower);
    }

    /// Everything said before has arrived, though it may arrive again.
    pub async fn reset(&mut self, pick: u8) {
        let is_meant = |session: &Session| session.gate == NARROW || session.gate == CARELESS;
        let Some(index) = self.online_where(pick, is_meant) else {
            return;
        };
        let session = &self.sessions[index];
        let age = self.lab.now.since(session.counted_from);
        // The first report of the new count must be of something, or nobody could tell.
        let can_pass = session.gate == CARELESS || self.free(index).is_none_or(|free| free > MB);
        if !can_pass || age < Duration::from_secs(20) || session.passed - session.passed_before < MB {
            return;
        }
        self.send(index, AccountingKind::Interim, false);
        for sent in self.reports.clone() {
            if sent.session == index {
                let accounted = self
                    .lab
                    .access
                    .account(sent.report.clone(), self.lab.now)
                    .await
                    .unwrap();
                self.arrived(&sent, accounted);
            }
        }
        let session = &mut self.sessions[index];
        session.passed_before = session.passed;
        session.counted_from = self.lab.now;
        self.pass(1);
        if self.sessions[index].is_online {
            self.flow_at(index, 100_000);
            self.send(index, AccountingKind::Interim, false);
            let sent = self.reports.last().unwrap().clone();
            let accounted = self
                .lab
                .access
                .account(sent.report.clone(), self.lab.now)
                .await
                .unwrap();
            self.arrived(&sent, accounted);
        }
    }

    pub async fn restart(&mut self, gate: usize) {
        for index in 0..self.sessions.len() {
            if self.sessions[index].is_online && self.sessions[index].gate == gate {
                self.end(index, 11);
            }
        }
        let on = AccountingReport {
            nas: self.gates[gate],
            from: None,
            kind: AccountingKind::On,
            acct_session_id: String::new(),
            class: None,
            user_name: None,
            mac: None,
            ip: None,
            ports: None,
            free: None,
            counters: Counters::default(),
            at: self.lab.now,
        };
        self.lab.access.account(on, self.lab.now).await.unwrap();
    }
}
