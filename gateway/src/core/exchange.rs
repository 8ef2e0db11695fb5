//! What the core is told, and what it says is to be done.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use kavadam_domain::{Limits, Mac, Timestamp};
use kavadam_firewall::{Meter, PoolKey, Slot};
use kavadam_radius::{AccessRequest, Credential, ErrorCause, Grant, LimitsPatch, Target};

use super::{Device, SessionRow};
use crate::report::Report;

/// Both clocks, read once.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For what is reported and kept.
    pub wall: Timestamp,
    /// For intervals.
    pub mono: Instant,
    /// Since the machine booted: outlives us, and no step of the wall clock moves it. `None` where it cannot be told.
    pub boot: Option<Duration>,
}

/// A question to a RADIUS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Somebody who waits to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(pub u64);

/// Something that happened.
pub enum Input {
    /// A device without a session showed itself: is it remembered?
    Knock(Device, Option<WaiterId>),
    /// A login by the UAM door.
    Logon {
        /// Who.
        device: Device,
        /// User-Name.
        user_name: String,
        /// Its proof.
        credential: Credential,
        /// Who waits.
        waiter: WaiterId,
    },
    /// The device wants to be a stranger.
    Logoff(Mac, Option<WaiterId>),
    /// DHCP gave the device this address, and so nobody else has it.
    Address(Mac, Ipv4Addr),
    /// The device no longer holds this address; it may hold another.
    AddressGone(Mac, Ipv4Addr),
    /// These are the IPv6 prefixes of the LAN, and no others.
    Prefixes(Vec<Ipv6Net>),
    /// Devices are seen with these addresses.
    Neighbours(Vec<(Mac, Ipv6Addr)>),
    /// What a server said.
    Answered(AskId, Answer),
    /// The kernel says that a pool refused a packet.
    PoolUsedUp(PoolKey),
    /// Disconnect-Request.
    Disconnect(Target, WaiterId),
    /// CoA-Request.
    Change(Target, LimitsPatch, WaiterId),
    /// Time has passed.
    Tick,
}

/// What a server said.
#[derive(Debug)]
pub enum Answer {
    /// Access-Accept.
    Accept(Box<Grant>),
    /// Likewise, of a server that may not know yet what the devices have used: it gives no more than it says, and may have more.
    Unsettled(Box<Grant>),
    /// Access-Reject (or a challenge, which nobody here can answer).
    Reject(Option<String>),
    /// Nothing, in the time allowed.
    Silent,
}

/// Something to be done. `Spool`, `Save` and `Forget` of one batch are committed together before anything else is carried out.
pub enum Command {
    /// Report this.
    Spool(Box<Report>),
    /// Keep this across a restart.
    Save(Box<SessionRow>),
    /// No longer keep the session of this Acct-Session-Id.
    Forget(String),
    /// Stop a session in the kernel, at once, as this gives nobody more than the record says: [`Core::halt_all`](super::Core::halt_all).
    Halt(Slot),
    /// Bring the kernel in line with what is committed: [`Core::carry_out`](super::Core::carry_out).
    Do(Deed),
    /// Ask a server, once the reports about these devices have been delivered: it decides on what it knows to be used.
    Ask(AskId, Box<AccessRequest>, Vec<Mac>),
    /// Tell who waits.
    Tell(WaiterId, Told),
}

/// Something to be done in the kernel. Doing it twice does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Open the session that this question was about.
    Open(AskId),
    /// Hold a session to its speeds and its time.
    Limit(Slot),
    /// Hold a pool to the sum of what its sessions were granted.
    Fit(PoolKey),
    /// Remove a session whose Stop is committed.
    Close(Slot),
}

/// The answer to one who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The device is online, as of now.
    Online,
    /// It was online before.
    Already,
    /// The server refused, with these words.
    Refused(Option<String>),
    /// No server answered, or the gate has no room.
    Unavailable,
    /// The session is over, or there was none.
    Over,
    /// The order was carried out, or why not.
    Ordered(Result<(), ErrorCause>),
}

/// A session as shown to its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Acct-Session-Id.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
    /// Its age, seconds.
    pub session_secs: u64,
    /// To the forced end, seconds.
    pub seconds_remaining: Option<u64>,
    /// What the person has left, or the session where only that is known.
    pub octets_remaining: Option<u64>,
    /// What it has carried.
    pub meter: Meter,
    /// Without a packet, seconds.
    pub idle_secs: u64,
    /// The limits in force.
    pub limits: Limits,
}

/// What the core is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Between reports where the server sets none.
    pub interim: Duration,
    /// Called-Station-Id.
    pub called_station_id: String,
    /// Makes Acct-Session-Ids unlike those of any other start.
    pub seed: u64,
}
