//! A long way: IPv4 packets go from one interface to another, later. For kernels without `netem`.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::socket::{MsgFlags, SockProtocol, recv, send, setsockopt, sockopt};

use crate::wire;

/// The longest frame, as long as the interfaces are told to merge none.
const FRAME_OCTETS: usize = 2048;
/// What a second of 100 Mbit/s needs, in either buffer.
const BUFFER_OCTETS: usize = 16 << 20;

/// Carries both ways until the process ends, each way so late.
///
/// # Errors
/// No root, or no such interfaces.
pub fn carry(interfaces: [&str; 2], delay: Duration) -> anyhow::Result<()> {
    let [one, other] = interfaces;
    let back = std::thread::spawn({
        let (from, to) = (open(other)?, open(one)?);
        move || pass(&from, to, delay)
    });
    pass(&open(one)?, open(other)?, delay)?;
    back.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

fn pass(from: &OwnedFd, to: OwnedFd, delay: Duration) -> anyhow::Result<()> {
    let (arrived, departing) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        while let Ok((due, frame)) = departing.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // A full queue loses packets, as on any way.
            _ = send(to.as_raw_fd(), &frame, MsgFlags::empty());
        }
    });
    let mut buffer = [0; FRAME_OCTETS];
    loop {
        let length = recv(from.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let frame = buffer.get(..length).unwrap_or_default().to_vec();
        arrived
            .send((Instant::now() + delay, frame))
            .context("nobody sends any more")?;
    }
}

fn open(interface: &str) -> anyhow::Result<OwnedFd> {
    let wire = wire::open(interface, Some(SockProtocol::EthIp))?;
    setsockopt(&wire, sockopt::RcvBufForce, &BUFFER_OCTETS)?;
    setsockopt(&wire, sockopt::SndBufForce, &BUFFER_OCTETS)?;
    Ok(wire)
}
