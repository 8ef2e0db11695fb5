//! Datagrams of random devices and lengths, and their answers.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use clap::Args;
use kavadam_domain::Mac;
use kavadam_lab::wire;
use nix::sys::socket::{MsgFlags, send};
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::device::{Datagram, FRAME, SERVER, ipv4, mac};

/// More than one, or a single translated address would not have ports for everybody.
pub const PORTS: std::ops::RangeInclusive<u16> = 4_000..=4_015;
/// Of all devices.
const SOURCE_PORT: u16 = 5_000;
const LONGEST: usize = 1_400;
/// Sent between two looks at the clock.
const AT_ONCE: u32 = 10;

/// What to send.
#[derive(Debug, Args)]
pub struct Chatter {
    /// Address of the gateway's interface at the other end
    #[arg(long)]
    gateway: Mac,
    /// Devices there are
    #[arg(long)]
    devices: u32,
    /// Datagrams a second
    #[arg(long)]
    rate: u32,
}

impl Chatter {
    /// Until ended.
    pub fn run(&self) -> anyhow::Result<Value> {
        let wire = wire::open("eth0", None)?;
        let mut random = rand::rng();
        let start = Instant::now();
        for bunch in 0_u32.. {
            for _ in 0..AT_ONCE {
                let device = random.random_range(0..self.devices);
                let ports = PORTS.end() - PORTS.start() + 1;
                let port = PORTS.start() + u16::try_from(device % u32::from(ports))?;
                let datagram = Datagram {
                    from: (mac(device), ipv4(device), SOURCE_PORT),
                    to: (self.gateway, SERVER, port),
                };
                let frame = datagram.frame_of(random.random_range(FRAME..=LONGEST));
                send(wire.as_raw_fd(), &frame, MsgFlags::empty())?;
            }
            let due = start + Duration::from_secs(1) * AT_ONCE / self.rate.max(1) * (bunch + 1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(json!(null))
    }
}

/// Answers at every port, at random lengths, until ended.
pub fn echo() -> anyhow::Result<Value> {
    let answer = |socket: UdpSocket| -> std::io::Result<()> {
        let (mut buffer, mut random) = ([0; LONGEST], rand::rng());
        loop {
            let (_, from) = socket.recv_from(&mut buffer)?;
            let length = random.random_range(18..LONGEST - 60);
            // Nobody there any more is no reason to stop.
            _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
        }
    };
    let sockets = PORTS
        .map(|port| UdpSocket::bind((SERVER, port)))
        .collect::<Result<Vec<_>, _>>()?;
    let threads: Vec<_> = sockets
        .into_iter()
        .map(|socket| std::thread::spawn(move || answer(socket)))
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    Ok(json!(null))
}
