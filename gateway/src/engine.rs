//! Moves the core: one task that takes in what happens, commits what must not be lost, then carries out the rest.
//!
//! What arrived while a batch was being committed is the next batch, so that many logins share one `fsync`.
//!
//! **When the file fails** (a full disk, say) people online stay online: their leases are renewed and their ends are carried out
//! in the kernel, up to the removal of the meters. Records wait in memory, in order, and are tried again every second; what was used is
//! told all the same before more is asked for. Until records are written nobody logs in, and nobody is told what is not durable.

mod handle;

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::{Mac, PortMapping, PortNews, PortRange};
use kavadam_firewall::GateEvent;
use kavadam_radius::client::{Client, ClientError};
use kavadam_radius::{AccessReply, AccessRequest, AccountingRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::{Answer, AskId, Command, Core, Deed, Deeds, Input, Told, WaiterId};
use crate::courier::CourierHandle;
use crate::devices::Devices;
use crate::kernel::Kernel;
use crate::report::{Kind, Report};
use crate::spool::{Changes, Spool};
use handle::Redacted;

pub(crate) use handle::{EngineHandle, Message};

const TICK: Duration = Duration::from_secs(1);
const MOST_IN_A_BATCH: usize = 512;
/// How long a question waits for the reports before it. With a server that is away it will not be answered anyway.
const REPORTS_FIRST: Duration = Duration::from_secs(2);
/// A full disk may heal.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// The task's own state.
pub(crate) struct Engine<K> {
    pub core: Core<K>,
    pub spool: Spool,
    pub courier: CourierHandle,
    pub client: Arc<Client>,
    pub messages: mpsc::Receiver<Message>,
    pub handle: EngineHandle,
    pub devices: Devices,
    /// Which device has which ports.
    pub ports: Option<PortMapping>,
    /// What was told of them, by Acct-Session-Id.
    told_ports: HashMap<String, PortRange>,
    waiters: HashMap<WaiterId, oneshot::Sender<Told>>,
    last_waiter: u64,
    /// To be committed, in order.
    pending: Changes,
    /// To be done when it is.
    held: Vec<Command>,
    /// The file failed and is tried again at this instant.
    retry_at: Option<Instant>,
}

impl<K: Kernel> Engine<K> {
    pub fn new(
        core: Core<K>,
        spool: Spool,
        courier: CourierHandle,
        client: Arc<Client>,
        (handle, messages): (EngineHandle, mpsc::Receiver<Message>),
        devices: Devices,
    ) -> Self {
        Self {
            core,
            spool,
            courier,
            client,
            messages,
            handle,
            devices,
            ports: None,
            told_ports: HashMap::new(),
            waiters: HashMap::new(),
            last_waiter: 0,
            pending: Changes::default(),
            held: Vec::new(),
            retry_at: None,
        }
    }

    /// How the internet sees the device now: the configuration may be another when the report is delivered.
    fn port_news(&mut self, report: &Report) -> Option<PortNews> {
        let now = self.ports.as_ref()?.of(report.ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED));
        let before = match (report.kind, now) {
            (Kind::Stop(_), _) | (_, None) => self.told_ports.remove(&report.id),
            (_, Some(ports)) => self.told_ports.insert(report.id.clone(), ports),
        };
        now.map(PortNews::Held).or(before.map(PortNews::GivenBack))
    }

    /// Runs until cancelled. Sessions stay open in the kernel.
    pub async fn run(mut self, first: Vec<Command>, cancel: CancellationToken) -> Self {
        self.carry_out(first).await;
        let mut next_tick = Instant::now() + TICK;
        let mut batch = Vec::new();
        loop {
            let wake_at = self.core.wake_at().map_or(next_tick, |at| next_tick.min(at.into()));
            let mut commands = tokio::select! {
                () = cancel.cancelled() => break,
                received = self.messages.recv_many(&mut batch, MOST_IN_A_BATCH) => {
                    if received == 0 {
                        break;
                    }
                    Vec::new()
                }
                () = tokio::time::sleep_until(wake_at) => self.core.handle(Input::Tick, clock::both()),
            };
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                commands.extend(self.core.handle(Input::Tick, clock::both()));
                self.commit().await;
                if self.retry_at.is_none() {
                    commands.append(&mut self.held);
                }
            }
            for message in batch.drain(..) {
                commands.extend(self.take_in(message));
            }
            self.carry_out(commands).await;
        }
        self.retry_at = None;
        self.commit().await;
        self
    }

    /// Stops whom nothing more is due, commits what must not be lost, then does the rest, and then what follows from it.
    async fn carry_out(&mut self, mut commands: Vec<Command>) {
        while !commands.is_empty() {
            let (mut rest, mut halts) = (Vec::new(), BTreeSet::new());
            let mut is_urgent = false;
            for command in commands {
                is_urgent |= matches!(command, Command::Spool(_) | Command::Save(_));
                match command {
                    Command::Spool(mut report) => {
                        report.ports = self.port_news(&report);
                        self.pending.reports.push(*report);
                    }
                    Command::Save(row) => self.pending.saved.push(*row),
                    // May wait for the next commit: a row too many costs nothing.
                    Command::Forget(id) => self.pending.forgotten.push(id),
                    Command::Halt(slot) => _ = halts.insert(slot),
                    other => rest.push(other),
                }
            }
            if !halts.is_empty() {
                self.core.halt_all(&halts, clock::both);
            }
            if is_urgent {
                self.commit().await;
            }
            if self.retry_at.is_none() {
                rest.splice(0..0, std::mem::take(&mut self.held));
            }
            commands = self.perform(rest);
        }
    }

    /// Does what needs no commit any more, what the kernel is to do at one go and first, so that nobody is told of what is not so; gives back what follows
    /// from it.
    fn perform(&mut self, commands: Vec<Command>) -> Vec<Command> {
        let (mut following, mut others, mut deeds) = (Vec::new(), Vec::new(), Deeds::default());
        let is_committed = self.retry_at.is_none();
        for command in commands {
            match command {
                Command::Do(Deed::Open(ask)) if !is_committed => {
                    following.extend(self.core.give_up(ask, clock::both()));
                }
                Command::Do(Deed::Close(_)) if !is_committed => self.held.push(command),
                Command::Tell(_, ref told) if !is_committed && is_promise(told) => self.held.push(command),
                // Limits hold without their record too: adoption goes back to those of the last row.
                Command::Do(deed) => deeds.add(deed),
                other => others.push(other),
            }
        }
        following.extend(self.core.carry_out(deeds, clock::both()));
        for command in others {
            match command {
                Command::Ask(ask, request, devices) => self.ask(ask, request, devices),
                Command::Tell(waiter, told) => {
                    if let Some(reply) = self.waiters.remove(&waiter) {
                        // Whoever asked may have left.
                        let _ = reply.send(told);
                    }
                }
                Command::Halt(_) | Command::Do(_) | Command::Spool(_) | Command::Save(_) | Command::Forget(_) => {}
            }
        }
        following
    }

    /// Commits what is pending, unless the file failed a moment ago.
    async fn commit(&mut self) {
        if self.pending.is_empty() || self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        match self.spool.commit(&self.pending, &self.courier.in_flight()).await {
            Ok(committed) => {
                self.courier.take(committed);
                self.pending = Changes::default();
                if self.retry_at.take().is_some() {
                    tracing::warn!("the spool takes records again");
                }
            }
            Err(error) => {
                if self.retry_at.is_none() {
                    tracing::error!(%error, "cannot commit: logins are refused and ends are not reported until it can");
                }
                self.pending.compact();
                self.retry_at = Some(Instant::now() + COMMIT_RETRY);
            }
        }
    }

    fn ask(&self, ask: AskId, mut request: Box<AccessRequest>, devices: Vec<Mac>) {
        request.nas_port_id = request.mac.and_then(|mac| self.devices.place_of(mac));
        let unwritten = self.unwritten(&request, &devices);
        let (client, courier, handle) = (Arc::clone(&self.client), self.courier.clone(), self.handle.clone());
        tokio::spawn(async move {
            let is_settled = courier.settled(&devices, REPORTS_FIRST).await && tell_all(&client, &unwritten).await;
            let answer = answer(client.authenticate(&request).await, is_settled);
            handle.send(Message::Answered(ask, answer)).await;
        });
    }

    /// What the file has not taken of these devices' meters. Told all the same, as a lease is not raised before it is known what was used; that it is told
    /// once more when it is written changes no total.
    fn unwritten(&self, request: &AccessRequest, devices: &[Mac]) -> Vec<AccountingRequest> {
        let reports = self.pending.reports.iter();
        reports
            .filter(|report| report.kind == Kind::Interim && report.mac.is_some_and(|mac| devices.contains(&mac)))
            .map(|report| report.request(request.called_station_id.as_deref().unwrap_or_default()))
            .collect()
    }

    fn take_in(&mut self, message: Message) -> Vec<Command> {
        let now = clock::both();
        let input = match message {
            Message::Knock(device, reply) => {
                if self.must_refuse(device.mac) {
                    reply.map(|reply| reply.send(Told::Unavailable));
                    return Vec::new();
                }
                Input::Knock(device, reply.map(|reply| self.wait(reply)))
            }
            Message::Logon {
                device,
                user_name,
                credential: Redacted(credential),
                reply,
            } => {
                if self.must_refuse(device.mac) {
                    let _ = reply.send(Told::Unavailable);
                    return Vec::new();
                }
                Input::Logon {
                    device,
                    user_name,
                    credential,
                    waiter: self.wait(reply),
                }
            }
            Message::Logoff(mac, reply) => Input::Logoff(mac, Some(self.wait(reply))),
            Message::View(mac, reply) => {
                let _ = reply.send(self.core.view(mac, now));
                return Vec::new();
            }
            Message::Known(reply) => {
                let _ = reply.send(self.core.known(now));
                return Vec::new();
            }
            Message::Standing(mac, reply) => {
                let _ = reply.send(self.core.standing(mac, now));
                return Vec::new();
            }
            Message::Address(mac, ipv4) => Input::Address(mac, ipv4),
            Message::AddressGone(mac, ipv4) => Input::AddressGone(mac, ipv4),
            Message::Disconnect(target, reply) => Input::Disconnect(target, self.wait(reply)),
            Message::Change(target, limits, reply) => Input::Change(target, limits, self.wait(reply)),
            Message::Answered(ask, answer) => Input::Answered(ask, answer),
            Message::Gate(GateEvent::PoolUsedUp(pool)) => Input::PoolUsedUp(pool),
            Message::Gate(GateEvent::Resync) => return self.core.resync(now),
            // The guard's business.
            Message::Gate(GateEvent::Changed | GateEvent::Meddled) => return Vec::new(),
            Message::Prefixes(prefixes) => Input::Prefixes(prefixes),
            Message::Neighbours(neighbours) => Input::Neighbours(neighbours),
            Message::Lost(slots) => return self.core.lost(&slots),
        };
        self.core.handle(input, now)
    }

    /// A stranger, and no record of its session could be written.
    fn must_refuse(&self, mac: Mac) -> bool {
        self.retry_at.is_some() && !self.core.is_online(mac)
    }

    fn wait(&mut self, reply: oneshot::Sender<Told>) -> WaiterId {
        self.last_waiter += 1;
        let waiter = WaiterId(self.last_waiter);
        self.waiters.insert(waiter, reply);
        waiter
    }
}

/// Whether a server took all of it.
async fn tell_all(client: &Client, reports: &[AccountingRequest]) -> bool {
    for report in reports {
        if let Err(error) = client.account(report, clock::now()).await {
            tracing::debug!(%error, "a report was not taken");
            return false;
        }
    }
    true
}

/// What a server said; `is_settled`: it knew all that was used.
fn answer(reply: Result<AccessReply, ClientError>, is_settled: bool) -> Answer {
    match reply {
        Ok(AccessReply::Accept(grant)) if is_settled => Answer::Accept(Box::new(grant)),
        Ok(AccessReply::Accept(grant)) => Answer::Unsettled(Box::new(grant)),
        Ok(AccessReply::Reject { message } | AccessReply::Challenge { message, .. }) => Answer::Reject(message),
        Err(error) => {
            tracing::debug!(%error, "a question was not answered");
            Answer::Silent
        }
    }
}

/// Whoever is told this relies on what is written.
const fn is_promise(told: &Told) -> bool {
    matches!(told, Told::Online | Told::Over | Told::Ordered(Ok(())))
}

#[cfg(test)]
mod tests;
