//! Sends frames one after the other. At a veth pair each is forwarded, filtered and delivered before `send` returns, on the same processor:
//! so the time it takes is the packet's whole cost.

use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use kavadam_domain::Mac;
use kavadam_lab::wire;
use nix::sys::socket::{MsgFlags, send};
use serde_json::{Value, json};

use super::device::{DISCARD, Datagram, FRAME, GATEWAY_WAN, SERVER, ipv4, mac, port};

/// Frames between two looks at the clock.
const STRIDE: usize = 256;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// From the devices to the internet.
    Up,
    /// From the internet to the devices, at the gateway's translated addresses.
    DownTranslated,
    /// The same where the gateway leaves addresses alone.
    Down,
}

/// What to send.
#[derive(Debug, Args)]
pub struct Send {
    #[arg(long, value_enum)]
    way: Way,
    /// Interface to send from
    #[arg(long)]
    interface: String,
    /// Address of the gateway's interface at the other end
    #[arg(long)]
    gateway: Mac,
    /// Devices there are; flows are spread over them
    #[arg(long)]
    devices: u32,
    /// One for each of so many devices at most
    #[arg(long)]
    flows: u32,
    /// Each frame once, in place of a time
    #[arg(long)]
    once: bool,
    /// How long, after a fifth of it to warm up
    #[arg(long, default_value_t = 500)]
    millis: u64,
}

impl Send {
    /// Sends, and tells how long a frame took.
    pub fn run(&self) -> anyhow::Result<Value> {
        let frames = self.frames();
        let wire = wire::open(&self.interface, None)?;
        let mut at = frames.iter().cycle();
        if self.once {
            for frame in &frames {
                send(wire.as_raw_fd(), frame, MsgFlags::empty())?;
            }
            return Ok(json!({ "sent": frames.len() }));
        }
        let mut spend = |length: Duration| -> anyhow::Result<(u64, Duration)> {
            let (start, mut sent) = (Instant::now(), 0);
            while start.elapsed() < length {
                for frame in at.by_ref().take(STRIDE) {
                    send(wire.as_raw_fd(), frame, MsgFlags::empty())?;
                }
                sent += STRIDE as u64;
            }
            Ok((sent, start.elapsed()))
        };
        let length = Duration::from_millis(self.millis);
        let (warm, _) = spend(length / 5)?;
        let (sent, took) = spend(length)?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let nanos = took.as_nanos() as f64 / sent as f64;
        Ok(json!({ "sent": warm + sent, "nanos": nanos }))
    }

    /// One of each flow, in an order that leaps over the devices.
    fn frames(&self) -> Vec<[u8; FRAME]> {
        let flows = self.flows.min(self.devices);
        let apart = (self.devices / flows.max(1)).max(1);
        let mut order: Vec<u32> = (0..flows).collect();
        order.sort_by_key(|flow| flow.wrapping_mul(2_654_435_761).rotate_left(16));
        order.into_iter().map(|flow| self.frame(flow, flow * apart)).collect()
    }

    fn frame(&self, flow: u32, device: u32) -> [u8; FRAME] {
        let server = (Mac([2, 9, 9, 9, 9, 9]), SERVER, DISCARD);
        let datagram = match self.way {
            Way::Up => Datagram {
                from: (mac(device), ipv4(device), port(flow)),
                to: (self.gateway, SERVER, DISCARD),
            },
            Way::DownTranslated => Datagram {
                from: server,
                to: (self.gateway, GATEWAY_WAN, port(flow)),
            },
            Way::Down => Datagram {
                from: server,
                to: (self.gateway, ipv4(device), port(flow)),
            },
        };
        datagram.frame()
    }
}
