//! Moves the core: one task that takes in what happens, commits what must not be lost, then carries out the rest.
//!
//! What arrived while a batch was being committed is the next batch, so that many logins share one `fsync`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::{Limits, Mac};
use kavadam_firewall::{GateEvent, Slot};
use kavadam_radius::client::Client;
use kavadam_radius::dynamic::DynamicHandler;
use kavadam_radius::{AccessReply, AccessRequest, Credential, ErrorCause, Target};
use std::net::Ipv4Addr;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::{Answer, AskId, Command, Core, Device, Input, Told, View, WaiterId};
use crate::courier::CourierHandle;
use crate::kernel::Kernel;
use crate::spool::{Changes, Spool};

const TICK: Duration = Duration::from_secs(1);
const MOST_IN_A_BATCH: usize = 512;
/// Messages that may wait; a door that finds no room says that the gate is busy.
const MOST_WAITING: usize = 8_192;
/// How long a question waits for the reports before it. With a server that is away it will not be answered anyway.
const REPORTS_FIRST: Duration = Duration::from_secs(2);
/// A full disk may heal; until then nothing is acknowledged.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// What the doors ask.
#[derive(Debug)]
pub(crate) enum Message {
    Knock(Device, Option<oneshot::Sender<Told>>),
    Logon {
        device: Device,
        user_name: String,
        credential: Redacted,
        reply: oneshot::Sender<Told>,
    },
    Logoff(Mac, oneshot::Sender<Told>),
    View(Mac, oneshot::Sender<Option<View>>),
    Address(Mac, Option<Ipv4Addr>),
    Disconnect(Target, oneshot::Sender<Told>),
    Change(Target, Limits, oneshot::Sender<Told>),
    Answered(AskId, Answer),
    Gate(GateEvent),
    Lost(Vec<Slot>),
}

/// A credential that no log shows.
pub(crate) struct Redacted(pub Credential);

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The way to the engine; cheap to clone.
#[derive(Clone)]
pub(crate) struct EngineHandle(mpsc::Sender<Message>);

impl EngineHandle {
    /// A handle and what it sends, for an engine or for a test in its place.
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self(sender), receiver)
    }

    /// Tells without waiting for an answer.
    pub async fn send(&self, message: Message) {
        // An engine that is gone is on its way down with everything else.
        let _ = self.0.send(message).await;
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.try_send(message(sender)).ok()?;
        receiver.await.ok()
    }

    pub async fn knock(&self, device: Device) -> Told {
        let told = self.ask(|reply| Message::Knock(device, Some(reply))).await;
        told.unwrap_or(Told::Unavailable)
    }

    pub async fn log_on(&self, device: Device, user_name: String, credential: Credential) -> Told {
        let message = |reply| Message::Logon {
            device,
            user_name,
            credential: Redacted(credential),
            reply,
        };
        self.ask(message).await.unwrap_or(Told::Unavailable)
    }

    pub async fn log_off(&self, mac: Mac) -> Told {
        let told = self.ask(|reply| Message::Logoff(mac, reply)).await;
        told.unwrap_or(Told::Unavailable)
    }

    pub async fn view(&self, mac: Mac) -> Option<View> {
        self.ask(|reply| Message::View(mac, reply)).await.flatten()
    }
}

impl DynamicHandler for EngineHandle {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        ordered(self.ask(|reply| Message::Disconnect(target, reply)).await.as_ref())
    }

    async fn change(&self, target: Target, limits: Limits) -> Result<(), ErrorCause> {
        ordered(self.ask(|reply| Message::Change(target, limits, reply)).await.as_ref())
    }
}

fn ordered(told: Option<&Told>) -> Result<(), ErrorCause> {
    match told {
        Some(Told::Ordered(result)) => *result,
        _ => Err(ErrorCause::RESOURCES_UNAVAILABLE),
    }
}

/// The task's own state.
pub(crate) struct Engine<K> {
    pub core: Core<K>,
    pub spool: Spool,
    pub courier: CourierHandle,
    pub client: Arc<Client>,
    pub messages: mpsc::Receiver<Message>,
    pub handle: EngineHandle,
    waiters: HashMap<WaiterId, oneshot::Sender<Told>>,
    last_waiter: u64,
}

impl<K: Kernel> Engine<K> {
    pub fn new(
        core: Core<K>,
        spool: Spool,
        courier: CourierHandle,
        client: Arc<Client>,
        (handle, messages): (EngineHandle, mpsc::Receiver<Message>),
    ) -> Self {
        Self {
            core,
            spool,
            courier,
            client,
            messages,
            handle,
            waiters: HashMap::new(),
            last_waiter: 0,
        }
    }

    /// Runs until cancelled. Sessions stay open in the kernel.
    pub async fn run(mut self, first: Vec<Command>, cancel: CancellationToken) -> Self {
        self.carry_out(first).await;
        let mut next_tick = Instant::now() + TICK;
        let mut batch = Vec::new();
        loop {
            let wake_at = self.core.wake_at().map_or(next_tick, |at| next_tick.min(at.into()));
            let mut commands = tokio::select! {
                () = cancel.cancelled() => return self,
                received = self.messages.recv_many(&mut batch, MOST_IN_A_BATCH) => {
                    if received == 0 {
                        return self;
                    }
                    Vec::new()
                }
                () = tokio::time::sleep_until(wake_at) => self.core.handle(Input::Tick, clock::both()),
            };
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                commands.extend(self.core.handle(Input::Tick, clock::both()));
            }
            for message in batch.drain(..) {
                commands.extend(take_in(
                    &mut self.core,
                    &mut self.waiters,
                    &mut self.last_waiter,
                    message,
                ));
            }
            self.carry_out(commands).await;
        }
    }

    /// Commits what must not be lost, then does the rest in order.
    async fn carry_out(&mut self, commands: Vec<Command>) {
        let mut changes = Changes::default();
        let mut deeds = Vec::new();
        for command in commands {
            match command {
                Command::Spool(report) => changes.reports.push(*report),
                Command::Save(row) => changes.saved.push(*row),
                Command::Forget(id) => changes.forgotten.push(id),
                Command::Close(slot) => deeds.push(Deed::Close(slot)),
                Command::Ask(ask, request) => deeds.push(Deed::Ask(ask, request)),
                Command::Tell(waiter, told) => deeds.push(Deed::Tell(waiter, told)),
            }
        }
        if !changes.is_empty() {
            self.commit(&changes).await;
        }
        for deed in deeds {
            match deed {
                Deed::Close(slot) => self.core.close(slot),
                Deed::Ask(ask, request) => self.ask(ask, request),
                Deed::Tell(waiter, told) => {
                    if let Some(reply) = self.waiters.remove(&waiter) {
                        // Whoever asked may have left.
                        let _ = reply.send(told);
                    }
                }
            }
        }
    }

    /// Tries until it is done: what is not committed did not happen, and the kernel still holds all of it.
    async fn commit(&self, changes: &Changes) {
        loop {
            match self.spool.commit(changes, &self.courier.in_flight()).await {
                Ok(committed) => return self.courier.take(committed),
                Err(error) => tracing::error!(%error, "cannot commit: logins and ends wait"),
            }
            tokio::time::sleep(COMMIT_RETRY).await;
        }
    }

    fn ask(&self, ask: AskId, request: Box<AccessRequest>) {
        let (client, courier, handle) = (Arc::clone(&self.client), self.courier.clone(), self.handle.clone());
        tokio::spawn(async move {
            courier.settled(request.mac, REPORTS_FIRST).await;
            let answer = match client.authenticate(&request).await {
                Ok(AccessReply::Accept(grant)) => Answer::Accept(Box::new(grant)),
                Ok(AccessReply::Reject { message } | AccessReply::Challenge { message, .. }) => Answer::Reject(message),
                Err(error) => {
                    tracing::debug!(%error, "a question was not answered");
                    Answer::Silent
                }
            };
            handle.send(Message::Answered(ask, answer)).await;
        });
    }
}

enum Deed {
    Close(Slot),
    Ask(AskId, Box<AccessRequest>),
    Tell(WaiterId, Told),
}

fn take_in<K: Kernel>(
    core: &mut Core<K>,
    waiters: &mut HashMap<WaiterId, oneshot::Sender<Told>>,
    last: &mut u64,
    message: Message,
) -> Vec<Command> {
    let now = clock::both();
    let mut wait = |reply: oneshot::Sender<Told>| {
        *last += 1;
        waiters.insert(WaiterId(*last), reply);
        WaiterId(*last)
    };
    let input = match message {
        Message::Knock(device, reply) => Input::Knock(device, reply.map(wait)),
        Message::Logon {
            device,
            user_name,
            credential: Redacted(credential),
            reply,
        } => Input::Logon {
            device,
            user_name,
            credential,
            waiter: wait(reply),
        },
        Message::Logoff(mac, reply) => Input::Logoff(mac, Some(wait(reply))),
        Message::View(mac, reply) => {
            let _ = reply.send(core.view(mac, now));
            return Vec::new();
        }
        Message::Address(mac, ipv4) => Input::Address(mac, ipv4),
        Message::Disconnect(target, reply) => Input::Disconnect(target, wait(reply)),
        Message::Change(target, limits, reply) => Input::Change(target, limits, wait(reply)),
        Message::Answered(ask, answer) => Input::Answered(ask, answer),
        Message::Gate(GateEvent::PoolUsedUp(pool)) => Input::PoolUsedUp(pool),
        Message::Gate(GateEvent::Resync) => return core.resync(now),
        // The guard's business.
        Message::Gate(GateEvent::Changed) => return Vec::new(),
        Message::Lost(slots) => return core.lost(&slots, now),
    };
    core.handle(input, now)
}
