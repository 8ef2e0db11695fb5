//! From stranger to session.

use std::time::Duration;

use kavadam_domain::Mac;
use kavadam_firewall::{Meter, PoolKey, Slot};
use kavadam_radius::{AccessRequest, Credential, Grant, ServiceType};

use super::deeds::Opening;
use super::session::{Device, Left, Phase, Pool, Session, SessionRow};
use super::{Answer, AskId, Command, Core, MOST_REFUSED, Now, REFUSAL_REMEMBERED, SILENCE_REMEMBERED, Told, WaiterId};
use crate::kernel::Kernel;
use crate::report::Kind;

/// After which a new session's meters are read for the first time.
const FIRST_READ: Duration = Duration::from_secs(1);

/// A question that is under way.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) device: Device,
    id: String,
    /// The name used to log in, for accounting where the server gives no other.
    user_name: String,
    is_knock: bool,
    waiters: Vec<WaiterId>,
}

impl<K: Kernel> Core<K> {
    /// MAC authentication (RFC 2865 §5.6, Call-Check).
    pub(super) fn knock(&mut self, device: Device, waiter: Option<WaiterId>, now: Now) {
        let mac = device.mac;
        if let Some(slot) = self.by_mac.get(&mac).copied() {
            let is_online = self.sessions.get(&slot).is_some_and(Session::is_online);
            if is_online {
                return self.tell_if(waiter, Told::Already);
            }
            // Stopped, and not reported yet: a few milliseconds from now it is a stranger.
            return self.await_end(slot, waiter, Told::Over);
        }
        if let Some(opening) = self.opening_at(mac) {
            opening.waiters.extend(waiter);
            return;
        }
        if let Some(login) = self.login_of.get(&mac).and_then(|ask| self.logins.get_mut(ask)) {
            login.waiters.extend(waiter);
            login.device.ipv4 = login.device.ipv4.or(device.ipv4);
            return;
        }
        let is_refused = self.refused.get(&mac).is_some_and(|until| *until > now.mono);
        if is_refused || self.refused.len() >= MOST_REFUSED {
            return self.tell_if(waiter, Told::Refused(None));
        }
        let name = mac.to_string();
        self.ask(device, name, Credential::Absent, true, waiter.into_iter().collect());
    }

    pub(super) fn log_on(&mut self, device: Device, user_name: String, credential: Credential, waiter: WaiterId) {
        if self.by_mac.contains_key(&device.mac) {
            return self.tell(waiter, Told::Already);
        }
        if let Some(opening) = self.opening_at(device.mac) {
            return opening.waiters.push(waiter);
        }
        // A login overtakes a question that is under way; who waited for that is told what comes of this.
        let overtaken = self.login_of.remove(&device.mac);
        let mut waiters = overtaken
            .and_then(|ask| self.logins.remove(&ask))
            .map_or_else(Vec::new, |login| login.waiters);
        waiters.push(waiter);
        self.ask(device, user_name, credential, false, waiters);
    }

    fn ask(
        &mut self,
        device: Device,
        user_name: String,
        credential: Credential,
        is_knock: bool,
        waiters: Vec<WaiterId>,
    ) {
        let id = self.next_id();
        let ask = self.next_ask();
        let service = if is_knock {
            ServiceType::CallCheck
        } else {
            ServiceType::Login
        };
        let request = AccessRequest {
            mac: Some(device.mac),
            called_station_id: Some(self.settings.called_station_id.clone()),
            framed_ipv4: device.ipv4,
            framed_ipv6: device.ipv6,
            acct_session_id: Some(id.clone()),
            wants_cui: true,
            ..AccessRequest::new(service, user_name.clone(), credential)
        };
        self.login_of.insert(device.mac, ask);
        self.logins.insert(
            ask,
            Login {
                device,
                id,
                user_name,
                is_knock,
                waiters,
            },
        );
        self.out.push(Command::Ask(ask, Box::new(request), vec![device.mac]));
    }

    /// A server answered a login, or none did.
    pub(super) fn decided(&mut self, ask: AskId, login: Login, answer: Answer, now: Now) {
        if self.login_of.get(&login.device.mac) == Some(&ask) {
            self.login_of.remove(&login.device.mac);
        }
        let mac = login.device.mac;
        let told = match answer {
            Answer::Accept(grant) | Answer::Unsettled(grant) if !self.has_filter(grant.limits.filter) => {
                self.remember_refusal(mac, login.is_knock, REFUSAL_REMEMBERED, now);
                Told::Refused(None)
            }
            Answer::Accept(grant) | Answer::Unsettled(grant) => {
                self.refused.remove(&mac);
                return self.accept(ask, login, *grant, now);
            }
            Answer::Reject(message) => {
                self.remember_refusal(mac, login.is_knock, REFUSAL_REMEMBERED, now);
                Told::Refused(message)
            }
            Answer::Silent => {
                self.remember_refusal(mac, login.is_knock, SILENCE_REMEMBERED, now);
                Told::Unavailable
            }
        };
        for waiter in login.waiters {
            self.tell(waiter, told.clone());
        }
    }

    pub(super) fn remember_refusal(&mut self, mac: Mac, is_knock: bool, span: Duration, now: Now) {
        if is_knock {
            self.refused.insert(mac, now.mono + span);
        }
    }

    fn tell_if(&mut self, waiter: Option<WaiterId>, told: Told) {
        if let Some(waiter) = waiter {
            self.tell(waiter, told);
        }
    }

    pub(super) fn opening_at(&mut self, mac: Mac) -> Option<&mut Opening> {
        self.openings.get_mut(self.opening_of.get(&mac)?)
    }

    /// Writes an accepted session down; then it is opened, and then they are told who wait.
    fn accept(&mut self, ask: AskId, login: Login, grant: Grant, now: Now) {
        let limits = grant.limits;
        self.heed_class(limits.class);
        let pool = grant.cui.as_ref().and_then(|cui| self.by_cui.get(cui)).copied();
        let row = SessionRow {
            id: login.id,
            mac: login.device.mac,
            ipv4: login.device.ipv4,
            ipv6: login.device.ipv6,
            user_name: grant.user_name.or(Some(login.user_name)),
            classes: grant.classes,
            cui: grant.cui,
            limits,
            is_renewable: grant.is_renewable,
            started: now.wall,
            started_boot: now.boot,
            left: limits.remaining_octets.map(|octets| Left {
                octets,
                at_used_octets: pool.map_or(0, |pool| self.pool_used(pool)),
            }),
            retired_octets: pool
                .and_then(|pool| self.pools.get(&pool))
                .map_or(0, |pool| pool.retired_octets),
            is_stopped: false,
        };
        self.out.push(Command::Save(Box::new(row.clone())));
        let start = row.report(Kind::Start, Meter::default(), 0, now.wall);
        self.out.push(Command::Spool(Box::new(start)));
        let waiters = login.waiters;
        self.await_opening(ask, Opening { row, waiters });
    }

    /// The first pool of this person.
    pub(super) fn new_pool(&mut self, row: &SessionRow) -> Option<PoolKey> {
        let limit_octets = row.limits.max_total_octets;
        match self.kernel.create_pool(limit_octets) {
            Ok(key) => {
                let pool = Pool {
                    cui: row.cui.clone(),
                    limit_octets,
                    kernel_octets: limit_octets,
                    ..Pool::default()
                };
                self.pools.insert(key, pool);
                if let Some(cui) = &row.cui {
                    self.by_cui.insert(cui.clone(), key);
                }
                Some(key)
            }
            Err(error) => {
                super::warn_kernel(&error);
                None
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call each for opening and adopting")]
    pub(super) fn new_session(
        &self,
        row: SessionRow,
        slot: Slot,
        pool: PoolKey,
        age: Duration,
        remaining: Option<Duration>,
        meter: Meter,
        now: Now,
    ) -> Session {
        let mut session = Session {
            row,
            slot,
            pool,
            phase: Phase::Online,
            age_at_base: age,
            base: now.mono,
            ends_at: remaining.map(|remaining| now.mono + remaining),
            meter,
            reported: meter,
            active_at: now.mono,
            next_interim: now.mono,
            ordered_after: 0,
        };
        session.next_interim = now.mono + spread(self.interim_of(&session), slot);
        session
    }

    pub(super) fn enter(&mut self, session: Session) {
        let slot = session.slot;
        self.by_mac.insert(session.row.mac, slot);
        self.by_id.insert(session.row.id.clone(), slot);
        self.reads.set(slot, session.base + FIRST_READ);
        if let Some(at) = session.ends_at {
            self.ends.set(slot, at);
        }
        if let Some(ipv4) = session.row.ipv4 {
            self.by_ipv4.insert(ipv4, slot);
        }
        let pool = self.pools.entry(session.pool).or_default();
        pool.slots.push(slot);
        pool.devices.insert(session.row.mac);
        self.sessions.insert(slot, session);
    }
}

/// Half an interval to a whole one: sessions begun together report apart, and those taken over together are read apart.
pub(super) fn spread(interim: Duration, slot: Slot) -> Duration {
    // Multiplication by the golden ratio scatters consecutive slots.
    let scattered = slot.0.wrapping_mul(0x9E37_79B9) >> 16;
    interim / 2 + interim.mul_f64(f64::from(scattered) / f64::from(1_u32 << 17))
}
