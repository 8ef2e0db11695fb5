//! Datagrams no server should answer, as many a second as asked for.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use serde_json::{Value, json};

use super::packet::{Device, Writer};

/// What is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wrong {
    /// Sound Access-Requests made with another secret
    Secret,
    /// Octets that are no packet
    Packet,
}

/// Datagrams sent by one system call.
const BATCH: usize = 32;

/// A flood.
#[derive(Debug, Args)]
pub struct Flood {
    /// The server, with the port the flood goes to
    #[arg(long, default_value = "127.0.0.1:1812")]
    pub server: SocketAddrV4,
    /// Where it comes from: a gate's address, or one the server does not know
    #[arg(long, default_value = "127.9.9.9")]
    pub from: Ipv4Addr,
    /// Datagrams a second
    #[arg(long, default_value_t = 200_000)]
    pub rate: u32,
    /// For how long
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// What is wrong with them
    #[arg(long, value_enum, default_value = "secret")]
    pub wrong: Wrong,
}

impl Flood {
    /// Sends; returns how many were.
    pub fn run(&self) -> anyhow::Result<u64> {
        let socket = UdpSocket::bind((self.from, 0)).with_context(|| format!("cannot send from {}", self.from))?;
        socket.connect(self.server)?;
        let packets = self.packets()?;
        let slices: Vec<_> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
        let nobody = vec![None::<SockaddrIn>; BATCH];
        let mut headers = MultiHeaders::preallocate(BATCH, None);
        let (start, length) = (Instant::now(), Duration::from_secs(self.seconds));
        let mut sent = 0_u64;
        while start.elapsed() < length {
            let due = start.elapsed().as_micros() * u128::from(self.rate) / 1_000_000;
            if u128::from(sent) >= due {
                sleep(Duration::from_micros(50));
                continue;
            }
            let done = sendmmsg(
                socket.as_raw_fd(),
                &mut headers,
                &slices,
                &nobody,
                [],
                MsgFlags::empty(),
            );
            // An error is that of an earlier one which nobody took.
            sent += done.map_or(0, |done| done.count() as u64);
        }
        Ok(sent)
    }

    fn packets(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut writer = Writer::new(&rand::random::<[u8; 32]>())?;
        let device = Device {
            name: "02-4C-00-00-00-00",
            password: "02-4C-00-00-00-00",
            service: 10,
            mac: "02-4C-00-00-00-00",
            address: Ipv4Addr::new(10, 0, 0, 1),
            gate: self.from,
            gate_name: "gate-0",
            port: 1,
            session: "000000000000",
            class: None,
        };
        let packets = (0..BATCH).map(|number| match self.wrong {
            Wrong::Packet => vec![0x55; 150],
            Wrong::Secret => {
                let identifier = u8::try_from(number).unwrap_or(0);
                writer.access(identifier, rand::random(), &device).to_vec()
            }
        });
        Ok(packets.collect())
    }

    /// Sends and tells.
    pub fn run_alone(&self) -> anyhow::Result<Value> {
        let start = Instant::now();
        let sent = self.run()?;
        Ok(json!({ "sent": sent, "seconds": start.elapsed().as_secs_f64() }))
    }
}
