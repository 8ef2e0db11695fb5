//! The way to the engine, and what is said on it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::Ipv6Net;
use kavadam_domain::Mac;
use kavadam_firewall::{GateEvent, Slot};
use kavadam_radius::dynamic::DynamicHandler;
use kavadam_radius::{Credential, ErrorCause, LimitsPatch, Target};
use tokio::sync::{mpsc, oneshot};

use crate::core::{Answer, AskId, Device, Told, View};
use crate::onlook::{Known, Standing};

/// Messages that may wait; a door that finds no room says that the gate is busy.
const MOST_WAITING: usize = 8_192;
/// A request that was captured is answered within this time; the answer of a slower server still holds for the next one.
const KNOCK_PATIENCE: Duration = Duration::from_millis(1_500);

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
    Known(oneshot::Sender<Vec<Known>>),
    Standing(Mac, oneshot::Sender<Standing>),
    Address(Mac, Ipv4Addr),
    AddressGone(Mac, Ipv4Addr),
    Disconnect(Target, oneshot::Sender<Told>),
    Change(Target, LimitsPatch, oneshot::Sender<Told>),
    Answered(AskId, Answer),
    Gate(GateEvent),
    Lost(Vec<Slot>),
    Prefixes(Vec<Ipv6Net>),
    Neighbours(Vec<(Mac, Ipv6Addr)>),
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

    /// Resolves when the engine has come round to a question; `false` if it never will. However long the queue, it waits.
    pub async fn answers(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        self.send(Message::View(Mac([0; 6]), sender)).await;
        receiver.await.is_ok()
    }

    /// Whether the device is remembered, as far as can be told while it waits: a page must not hang on a server that is away.
    pub async fn knock(&self, device: Device) -> Told {
        let told = self.ask(|reply| Message::Knock(device, Some(reply)));
        let told = tokio::time::timeout(KNOCK_PATIENCE, told).await;
        told.ok().flatten().unwrap_or(Told::Unavailable)
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

    pub async fn known(&self) -> Option<Vec<Known>> {
        self.ask(Message::Known).await
    }

    pub async fn standing(&self, mac: Mac) -> Option<Standing> {
        self.ask(|reply| Message::Standing(mac, reply)).await
    }
}

impl DynamicHandler for EngineHandle {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        ordered(self.ask(|reply| Message::Disconnect(target, reply)).await.as_ref())
    }

    async fn change(&self, target: Target, patch: LimitsPatch) -> Result<(), ErrorCause> {
        ordered(self.ask(|reply| Message::Change(target, patch, reply)).await.as_ref())
    }
}

fn ordered(told: Option<&Told>) -> Result<(), ErrorCause> {
    match told {
        Some(Told::Ordered(result)) => *result,
        _ => Err(ErrorCause::RESOURCES_UNAVAILABLE),
    }
}
