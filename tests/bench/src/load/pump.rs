//! One thread that sends, receives and asks again.

use std::time::{Duration, Instant};

use super::packet::{self, Device, Meters, Status, Writer};
use super::population::{self, Population, unix_secs};
use super::report::Tally;
use super::slots::{Place, Slot, Slots};
use super::story::{Step, Story};
use super::target::{self, Gates, Port};
use super::work::{Load, Pace};

/// While it waits for answers alone it looks up this often.
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// Requests sent before it looks for answers.
const BURST: u32 = 64;

/// What one thread works with.
pub struct Pump<'a> {
    load: &'a Load,
    gates: Gates,
    ports: Vec<Port>,
    slots: Slots,
    people: Population,
    story: Story,
    writer: Writer,
    tally: Tally,
    start: Instant,
    /// Which thread of how many: its devices' numbers leave this when divided.
    share: (u32, u32),
    texts: Texts,
    /// Turns sockets and the sample of checked answers.
    turn: usize,
    /// Requests begun.
    begun: u64,
}

/// Filled in anew for each request.
#[derive(Default)]
struct Texts {
    name: String,
    password: String,
    mac: String,
    session: String,
    gate: String,
}

impl<'a> Pump<'a> {
    /// With sockets of its own.
    pub fn new(load: &'a Load, mut people: Population, share: (u32, u32), start: Instant) -> anyhow::Result<Self> {
        let gates = load.gates();
        let mut ports = Vec::new();
        for server in [load.auth(), load.acct()] {
            for _ in 0..load.ports {
                ports.push(Port::open(server)?);
            }
        }
        Ok(Self {
            slots: Slots::new(ports.len(), usize::try_from(gates.count)?),
            story: Story::new(load.scenario, &mut people),
            writer: Writer::new(&load.secret()?)?,
            tally: Tally::new(load.warm_up(), load.warm_up() + load.length()),
            load,
            gates,
            ports,
            people,
            start,
            share,
            texts: Texts::default(),
            turn: 0,
            begun: 0,
        })
    }

    /// Until the time is up (or the story over) and everything sent is answered or given up.
    pub fn run(mut self) -> (Tally, Population) {
        loop {
            let is_sending = self.is_sending();
            if !is_sending && self.slots.in_flight() == 0 {
                break;
            }
            let next = if is_sending { self.send_what_is_due() } else { None };
            let now = self.now();
            let longest = next.map_or(LONGEST_WAIT, |due| Duration::from_nanos(due.saturating_sub(now)));
            let ready = target::wait(&self.ports, longest.min(LONGEST_WAIT));
            for (socket, is_ready) in ready.into_iter().enumerate() {
                if is_ready {
                    self.receive(socket);
                }
            }
            self.ask_again();
        }
        if let (Pace::Rate(rate), false) = (self.load.pace(), self.story.is_over()) {
            self.tally
                .unsent(number_due(self.tally.end(), rate).saturating_sub(self.begun));
        }
        (self.tally, self.people)
    }

    /// At a fixed rate whatever was due in time is sent, however late: left out, it would make the rest look better.
    fn is_sending(&self) -> bool {
        let (now, end) = (self.now(), self.tally.end());
        let is_time = match self.load.pace() {
            Pace::InFlight(_) => now < end,
            Pace::Rate(rate) => {
                let patience = nanos(self.load.retry()) * u64::from(self.load.tries);
                due(self.begun, rate) < end && now < end + patience
            }
        };
        is_time && !(self.story.is_over() && self.slots.in_flight() == 0)
    }

    /// Sends at most a burst. Returns when the next request is due, if that is known.
    fn send_what_is_due(&mut self) -> Option<u64> {
        for _ in 0..BURST {
            let now = self.now();
            let due = match self.load.pace() {
                Pace::InFlight(most) if self.slots.in_flight() < most => now,
                Pace::InFlight(_) => return None,
                Pace::Rate(rate) => {
                    let due = due(self.begun, rate);
                    if due > now {
                        return Some(due);
                    }
                    if due >= self.tally.end() {
                        return None;
                    }
                    due
                }
            };
            let (number, step) = self.story.next(&mut self.people)?;
            self.begin(number, step, due);
        }
        Some(0)
    }

    fn begin(&mut self, number: u32, step: Step, due: u64) {
        self.begun += 1;
        self.tally.begun(due);
        let gate = self.device(number) % self.gates.count;
        let gate = usize::try_from(gate).unwrap_or(0);
        let kind = if step == Step::Login { 0 } else { self.load.ports };
        for _ in 0..self.load.ports {
            self.turn = self.turn.wrapping_add(1);
            let socket = kind + self.turn % self.load.ports;
            if let Some(place) = self.slots.free(socket, gate) {
                let slot = Slot {
                    device: number,
                    step,
                    authenticator: rand::random(),
                    at: unix_secs(),
                    due,
                    sent: 0,
                    tries: 0,
                };
                return self.send(place, slot);
            }
        }
        // The gate has no identifier left: more than it can ask at once.
        self.tally.choked(due);
        self.story.failed(&mut self.people, number, step);
    }

    /// The same octets each time: they follow from the slot and from the device, which does nothing else meanwhile.
    fn send(&mut self, place: Place, mut slot: Slot) {
        let number = self.device(slot.device);
        let Some(life) = self.people.get_mut(slot.device) else {
            return;
        };
        if slot.step == Step::Login {
            life.began = slot.at;
        }
        let texts = &mut self.texts;
        self.load.user_name.fill(number, &mut texts.name);
        self.load.password.fill(number, &mut texts.password);
        texts.mac.clear();
        population::mac(number, &mut texts.mac);
        population::session(number, life.visit, &mut texts.session);
        texts.gate.clear();
        texts.gate.push_str("gate-");
        texts.gate.push_str(&place.gate.to_string());
        let loaded = self.load.class_of(number);
        let class = life.class.as_deref();
        let class = class.or_else(|| loaded.as_deref().filter(|_| life.visit == 0));
        let device = Device {
            name: &texts.name,
            password: &texts.password,
            service: self.load.service.number(),
            mac: &texts.mac,
            address: population::address(number),
            gate: self.gates.address(place.gate),
            gate_name: &texts.gate,
            port: number,
            session: &texts.session,
            class,
        };
        let meters = Meters {
            // As a gate's clock has it: from a session older than its Accept a server would have to look for another.
            secs: slot.at.saturating_sub(life.began),
            octets: life.octets(),
            at: slot.at,
        };
        let status = match slot.step {
            Step::Login => None,
            Step::Start => Some(Status::Start),
            Step::Interim => Some(Status::Interim),
            Step::Stop => Some(Status::Stop),
        };
        let packet = match status {
            None => self.writer.access(place.identifier, slot.authenticator, &device),
            Some(status) => self.writer.accounting(place.identifier, status, &device, meters),
        };
        slot.authenticator = packet::authenticator_of(packet);
        if let Some(port) = self.ports.get(place.socket) {
            port.send(&self.gates, place.gate, packet);
        }
        slot.sent = nanos(self.start.elapsed());
        slot.tries += 1;
        self.slots.wait(place, slot);
    }

    fn receive(&mut self, socket: usize) {
        let Self {
            load,
            ports,
            slots,
            people,
            story,
            writer,
            tally,
            start,
            gates,
            turn,
            ..
        } = self;
        let Some(port) = ports.get_mut(socket) else { return };
        port.receive(gates, |gate, reply| {
            let now = nanos(start.elapsed());
            let &[code, identifier, ..] = reply else { return };
            let place = Place {
                socket,
                gate,
                identifier,
            };
            let Some(slot) = slots.get(place) else {
                return tally.stray(now);
            };
            *turn = turn.wrapping_add(1);
            // The answer to an earlier request with this identifier must not pass for that to a later one.
            let is_checked = slot.tries > 1 || load.check > 0 && turn.is_multiple_of(load.check);
            if is_checked && !writer.is_genuine(reply, &slot.authenticator) {
                return tally.forged(slot.due);
            }
            let expected = if slot.step == Step::Login {
                code == packet::ACCESS_ACCEPT || code == packet::ACCESS_REJECT
            } else {
                code == packet::ACCOUNTING_RESPONSE
            };
            if !expected {
                return tally.forged(slot.due);
            }
            let Some(slot) = slots.take(place) else { return };
            if code == packet::ACCESS_REJECT {
                tally.rejected(slot.due, now);
                story.failed(people, slot.device, slot.step);
            } else {
                tally.answered(&slot, now);
                story.answered(people, slot.device, slot.step, packet::class_of(reply));
            }
        });
    }

    fn ask_again(&mut self) {
        let Some(before) = self.now().checked_sub(nanos(self.load.retry())) else {
            return;
        };
        while let Some(place) = self.slots.overdue(before) {
            let Some(slot) = self.slots.get(place).cloned() else {
                continue;
            };
            if slot.tries < self.load.tries {
                self.tally.asked_again(slot.due);
                self.send(place, slot);
            } else if let Some(slot) = self.slots.take(place) {
                self.tally.lost(slot.due, slot.step);
                self.story.failed(&mut self.people, slot.device, slot.step);
            }
        }
    }

    /// A device's number among all threads'.
    const fn device(&self, own: u32) -> u32 {
        own * self.share.1 + self.share.0
    }

    fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

/// When the request of this number is due at so many a second.
fn due(number: u64, rate: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "exact for a run of weeks"
    )]
    let due = (number as f64 * 1e9 / rate) as u64;
    due
}

/// How many requests are due by then.
fn number_due(by: u64, rate: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "exact for a run of weeks"
    )]
    let number = (by as f64 * rate / 1e9) as u64;
    number
}

/// Nanoseconds of centuries.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
