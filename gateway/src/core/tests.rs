//! The core with time moved by hand, and packets too.

mod adoption;
mod classes;
mod crowd;
mod endings;
pub(crate) mod fake;
mod filters;
mod model;
mod quotas;
mod renumbering;
mod strangers;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kavadam_domain::{Limits, Mac, Timestamp};
use kavadam_firewall::PoolKey;
use kavadam_radius::{AccessRequest, Credential, Grant, ServiceType};

use super::{Answer, AskId, Command, Core, Deed, Deeds, Device, Input, Now, SessionRow, Settings, Told, WaiterId};
use crate::report::{Kind, Report};
use fake::FakeKernel;

pub(crate) const MB: u64 = 1_000_000;

pub(crate) fn wall() -> Timestamp {
    Timestamp::from_secs(1_764_000_000)
}

pub(crate) fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, number])
}

pub(crate) fn device(number: u8) -> Device {
    Device {
        mac: mac(number),
        ipv4: Some(Ipv4Addr::new(10, 80, 1, number)),
        ipv6: None,
    }
}

pub(crate) fn row(id: &str) -> SessionRow {
    SessionRow {
        id: id.to_owned(),
        mac: mac(1),
        ipv4: Some(Ipv4Addr::new(10, 80, 1, 1)),
        ipv6: None,
        user_name: Some("alias".into()),
        classes: vec![vec![1, 0, 255]],
        cui: Some(b"person".to_vec()),
        limits: Limits {
            max_total_octets: Some(10 * MB),
            ..Limits::default()
        },
        is_renewable: true,
        started: wall(),
        left: None,
        started_boot: None,
        retired_octets: 0,
        is_stopped: false,
    }
}

/// A lease of so many octets for one person, at 8 Mbit/s each way.
pub(crate) fn lease(octets: u64) -> Grant {
    Grant {
        limits: Limits {
            max_total_octets: Some(octets),
            up_bits_per_sec: Some(8_000_000),
            down_bits_per_sec: Some(8_000_000),
            session_secs: Some(3_600),
            idle_secs: None,
            interim_secs: Some(60),
            remaining_octets: Some(100 * MB),
            filter: None,
            class: None,
        },
        is_renewable: true,
        classes: vec![b"class".to_vec()],
        user_name: Some("alias".into()),
        cui: Some(b"person".to_vec()),
        message: None,
        ms_chap2_success: None,
    }
}

/// A gate with a fake kernel, a fake server and a clock.
pub(crate) struct Scene {
    pub core: Core<FakeKernel>,
    kernel: FakeKernel,
    pub now: Now,
    asked: Vec<(AskId, AccessRequest)>,
    asked_after: Vec<Mac>,
    pub reports: Vec<Report>,
    saved: Vec<SessionRow>,
    pub forgotten: Vec<String>,
    told: Vec<(WaiterId, Told)>,
    waiters: u64,
    /// Commits, deeds and answers until the process dies.
    steps_to_live: Option<u8>,
    is_dead: bool,
}

impl Scene {
    pub fn new() -> Self {
        let kernel = FakeKernel::default();
        let settings = Settings {
            interim: Duration::from_mins(1),
            called_station_id: "AA-BB-CC-00-00-01".into(),
            seed: 7,
        };
        Self {
            core: Core::new(settings, kernel.clone()),
            kernel,
            now: Now {
                wall: wall(),
                mono: Instant::now() + Duration::from_hours(24),
                boot: Some(Duration::from_hours(9)),
            },
            asked: Vec::new(),
            asked_after: Vec::new(),
            reports: Vec::new(),
            saved: Vec::new(),
            forgotten: Vec::new(),
            told: Vec::new(),
            waiters: 0,
            steps_to_live: None,
            is_dead: false,
        }
    }

    fn handle(&mut self, input: Input) {
        if !self.is_dead {
            let commands = self.core.handle(input, self.now);
            self.take(commands);
        }
    }

    /// As the engine does: halts, commits, then does the rest, then what follows from it. Before any of these steps the process may
    /// end, and between any two deeds.
    pub fn take(&mut self, mut commands: Vec<Command>) {
        while !commands.is_empty() {
            let (halts, others): (Vec<_>, Vec<_>) =
                commands.into_iter().partition(|one| matches!(one, Command::Halt(_)));
            for halt in halts {
                if self.dies() {
                    return;
                }
                if let Command::Halt(slot) = halt {
                    self.core.halt_all(&[slot].into(), || self.now);
                }
            }
            let is_record = |one: &Command| matches!(one, Command::Spool(_) | Command::Save(_) | Command::Forget(_));
            if others.iter().any(is_record) && self.dies() {
                return;
            }
            let (records, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_record);
            for record in records {
                match record {
                    Command::Spool(report) => self.reports.push(*report),
                    Command::Save(row) => self.saved.push(*row),
                    Command::Forget(id) => self.forgotten.push(id),
                    _ => {}
                }
            }
            let (deeds, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| matches!(one, Command::Do(_)));
            let mut together = Deeds::default();
            for deed in deeds {
                if self.dies() {
                    break;
                }
                if let Command::Do(deed) = deed {
                    together.add(deed);
                }
            }
            commands = self.core.carry_out(together, self.now);
            for one in others {
                if self.dies() {
                    return;
                }
                match one {
                    Command::Ask(ask, request, devices) => {
                        self.asked.push((ask, *request));
                        self.asked_after = devices;
                    }
                    Command::Tell(waiter, told) => self.told.push((waiter, told)),
                    _ => {}
                }
            }
        }
    }

    fn dies(&mut self) -> bool {
        self.is_dead |= self.steps_to_live == Some(0);
        self.steps_to_live = self.steps_to_live.map(|steps| steps.saturating_sub(1));
        self.is_dead
    }

    /// Time passes; the kernel and the engine's ticks with it.
    fn pass(&mut self, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(1));
            self.step(step);
            left -= step;
        }
    }

    fn step(&mut self, step: Duration) {
        self.now = Now {
            wall: self.now.wall + step,
            mono: self.now.mono + step,
            boot: self.now.boot.map(|boot| boot + step),
        };
        self.kernel.pass(step);
        self.handle(Input::Tick);
    }

    fn waiter(&mut self) -> WaiterId {
        self.waiters += 1;
        WaiterId(self.waiters)
    }

    fn log_on(&mut self, number: u8) -> WaiterId {
        let waiter = self.waiter();
        self.handle(Input::Logon {
            device: device(number),
            user_name: "t-ticket".into(),
            credential: Credential::Chap {
                ident: 0,
                response: [1; 16],
                challenge: vec![2; 16],
            },
            waiter,
        });
        waiter
    }

    /// The question that was put last.
    fn question(&mut self) -> (AskId, AccessRequest) {
        self.asked.pop().expect("a question")
    }

    fn accept(&mut self, grant: Grant) {
        let (ask, _) = self.question();
        self.handle(Input::Answered(ask, Answer::Accept(Box::new(grant))));
    }

    /// As it is answered when the reports about what was used have not arrived.
    fn accept_unsettled(&mut self, grant: Grant) {
        let (ask, _) = self.question();
        self.handle(Input::Answered(ask, Answer::Unsettled(Box::new(grant))));
    }

    fn reject(&mut self) {
        let (ask, _) = self.question();
        self.handle(Input::Answered(ask, Answer::Reject(Some("no".into()))));
    }

    fn stay_silent(&mut self) {
        let (ask, _) = self.question();
        self.handle(Input::Answered(ask, Answer::Silent));
    }

    /// A device online with this grant.
    fn online(&mut self, number: u8, grant: Grant) {
        self.log_on(number);
        self.accept(grant);
        assert!(self.kernel.is_open(mac(number)), "device {number} is online");
    }

    /// Packets flow; the kernel tells of depletion. Gives back the octets that passed.
    fn flow(&mut self, number: u8, octets: u64) -> u64 {
        let (passed, depleted) = self.kernel.flow(mac(number), octets);
        if let Some(pool) = depleted {
            self.handle(Input::PoolUsedUp(pool));
        }
        passed
    }

    fn kinds(&self) -> Vec<Kind> {
        self.reports.iter().map(|report| report.kind).collect()
    }

    fn last_report(&self) -> &Report {
        self.reports.last().expect("a report")
    }

    fn pool_limit(&self, pool: PoolKey) -> Option<u64> {
        self.kernel.pool_limit(pool)
    }
}
