//! A server that says yes to everybody and keeps nothing: what the generator and the machine can carry at most.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::thread;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::packet::{self, MAX_OCTETS, Writer};
use super::target;

/// The least a server can do.
#[derive(Debug, Args)]
pub struct Yardstick {
    /// Authentication port
    #[arg(long, default_value_t = 1812)]
    auth_port: u16,
    /// Accounting port
    #[arg(long, default_value_t = 1813)]
    acct_port: u16,
    /// File with the RADIUS secret
    #[arg(long)]
    secret_file: PathBuf,
}

impl Yardstick {
    /// Until it is ended.
    pub fn run(&self) -> anyhow::Result<Value> {
        let path = &self.secret_file;
        let secret = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let writer = Writer::new(secret.trim_ascii_end())?;
        let open = |port| {
            let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
            target::enlarge(&socket);
            anyhow::Ok(socket)
        };
        let (auth, acct) = (open(self.auth_port)?, open(self.acct_port)?);
        thread::scope(|scope| {
            scope.spawn(|| serve(&auth, packet::ACCESS_ACCEPT, &writer));
            serve(&acct, packet::ACCOUNTING_RESPONSE, &writer);
        });
        Ok(Value::Null)
    }
}

fn serve(socket: &UdpSocket, code: u8, writer: &Writer) {
    let mut buffer = [0; MAX_OCTETS];
    loop {
        // An error is that of an earlier answer which nobody took.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Some(reply) = buffer.get(..length).and_then(|request| writer.reply(code, request)) {
            let _ = socket.send_to(&reply, from);
        }
    }
}
