//! Which request comes next.

use std::collections::VecDeque;

use clap::ValueEnum;

use super::population::{Population, Stage};

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Each device logs in, again and again, each time as a new visit
    Auth,
    /// Each device asks again about the session it has
    Reauth,
    /// Interim reports of open sessions, with growing counters
    Acct,
    /// 1 login : 1 Start : 4 Interims : 1 Stop, over devices that come and go
    Mix,
    /// Each open session reports once, and the run ends when all have
    Pass,
    /// After a power cut: each device logs in and starts once, and the run ends when all have
    Storm,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Access-Request.
    Login,
    /// Accounting Start.
    Start,
    /// Interim-Update.
    Interim,
    /// Accounting Stop.
    Stop,
}

/// Deals out steps to one thread's devices.
#[derive(Debug)]
pub struct Story {
    scenario: Scenario,
    /// In turn.
    idle: VecDeque<u32>,
    /// Devices whose next request follows at once on the answer to the last.
    at_once: VecDeque<u32>,
}

impl Story {
    /// Whether it ends by itself.
    const fn is_once(&self) -> bool {
        matches!(self.scenario, Scenario::Storm | Scenario::Pass)
    }

    /// Begins.
    pub fn new(scenario: Scenario, people: &mut Population) -> Self {
        if scenario == Scenario::Storm {
            for number in 0..people.len() {
                if let Some(life) = people.get_mut(number) {
                    life.come_again();
                }
            }
        }
        Self {
            scenario,
            idle: (0..people.len()).collect(),
            at_once: VecDeque::new(),
        }
    }

    /// The next request, whose answer is to be told to [`Story::answered`] or [`Story::failed`]. `None` while every device waits for
    /// one, and for good when a storm is over.
    pub fn next(&mut self, people: &mut Population) -> Option<(u32, Step)> {
        let number = self.at_once.pop_front().or_else(|| self.idle.pop_front())?;
        let life = people.get_mut(number)?;
        let step = match (self.scenario, life.stage) {
            (Scenario::Auth, _) => {
                life.come_again();
                Step::Login
            }
            (Scenario::Reauth, _) | (_, Stage::Login) => Step::Login,
            (_, Stage::Start) => Step::Start,
            (Scenario::Acct | Scenario::Pass, Stage::Online) => Step::Interim,
            (_, Stage::Online) if life.interims_left > 0 => Step::Interim,
            (_, Stage::Online) => Step::Stop,
        };
        if matches!(step, Step::Interim | Step::Stop) {
            life.reports += 1;
        }
        Some((number, step))
    }

    /// The server said yes.
    pub fn answered(&mut self, people: &mut Population, number: u32, step: Step, class: Option<&[u8]>) {
        let Some(life) = people.get_mut(number) else { return };
        match step {
            Step::Login => {
                if self.scenario != Scenario::Reauth {
                    life.stage = Stage::Start;
                }
                if let Some(class) = class {
                    life.class = Some(class.into());
                }
            }
            Step::Start => life.stage = Stage::Online,
            Step::Interim => life.interims_left = life.interims_left.saturating_sub(1),
            Step::Stop => life.come_again(),
        }
        let is_chained = match self.scenario {
            Scenario::Mix => matches!(step, Step::Login | Step::Stop),
            Scenario::Storm | Scenario::Acct => step == Step::Login,
            Scenario::Auth | Scenario::Reauth | Scenario::Pass => false,
        };
        if is_chained {
            self.at_once.push_back(number);
        } else if !self.is_once() {
            self.idle.push_back(number);
        }
    }

    /// It said no, or nothing however often it was asked.
    pub fn failed(&mut self, people: &mut Population, number: u32, step: Step) {
        let Some(life) = people.get_mut(number) else { return };
        if matches!(step, Step::Login | Step::Stop) {
            life.come_again();
        }
        if !self.is_once() {
            self.idle.push_back(number);
        }
    }

    /// Whether nobody has anything left to send, once what is in flight is answered.
    pub fn is_over(&self) -> bool {
        self.idle.is_empty() && self.at_once.is_empty()
    }
}
