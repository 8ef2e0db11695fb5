//! What passes between a gate and its centre: a relay that writes down each Accounting-Request the centre took, and a sender
//! that sends them again. Neither knows the secret: the packets are used as they were caught.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use data_encoding::HEXLOWER;

/// RFC 2866 §3.
const HEADER_OCTETS: usize = 20;
const ACCOUNTING_RESPONSE: u8 = 5;
const PATIENCE: Duration = Duration::from_secs(3);

/// An Accounting-Request as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught(Vec<u8>);

/// Acct-Status-Type (RFC 2866 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 1.
    Start,
    /// 2.
    Stop,
    /// 3.
    Interim,
    /// Anything else, such as Accounting-On.
    Other,
}

impl Caught {
    /// What it reports.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.number(40) {
            Some(1) => Status::Start,
            Some(2) => Status::Stop,
            Some(3) => Status::Interim,
            _ => Status::Other,
        }
    }

    /// Acct-Session-Id.
    #[must_use]
    pub fn session(&self) -> String {
        String::from_utf8_lossy(self.attribute(44).unwrap_or_default()).into_owned()
    }

    /// Acct-Input-Octets and Acct-Output-Octets together; the lab stays below the 4 GiB from which gigawords count.
    #[must_use]
    pub fn octets(&self) -> u64 {
        u64::from(self.number(42).unwrap_or(0)) + u64::from(self.number(43).unwrap_or(0))
    }

    fn number(&self, kind: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(kind)?.try_into().ok()?))
    }

    fn attribute(&self, kind: u8) -> Option<&[u8]> {
        let mut rest = self.0.get(HEADER_OCTETS..)?;
        while let [found, length, ..] = rest {
            let value = rest.get(2..usize::from(*length))?;
            if *found == kind {
                return Some(value);
            }
            rest = rest.get(usize::from(*length)..)?;
        }
        None
    }
}

/// What was written down, in the order in which the centre took it.
///
/// # Errors
/// There is no such file, or it was not written by [`relay`].
pub fn caught(record: &Path) -> anyhow::Result<Vec<Caught>> {
    let text = std::fs::read_to_string(record).context("nothing was caught")?;
    text.lines()
        .map(|line| Ok(Caught(HEXLOWER.decode(line.as_bytes())?)))
        .collect()
}

/// Stands between a gate and its centre until the process ends; each request that was answered is written down.
///
/// # Errors
/// A port is taken, or the file cannot be written.
pub fn relay(listen: SocketAddr, to: SocketAddr, record: &Path) -> anyhow::Result<()> {
    let gate = UdpSocket::bind(listen).with_context(|| format!("listen on {listen}"))?;
    let mut ports: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut file = std::fs::File::options().create(true).append(true).open(record)?;
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = gate.recv_from(&mut buffer)?;
        let request = buffer.get(..length).unwrap_or_default().to_vec();
        // One at a time, and a port for each of the gate's: the centre tells repetitions by where they come from.
        let port = match ports.entry(from) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(connect(to)?),
        };
        if let Some(answer) = exchange(port, &request, Duration::from_millis(500)) {
            use std::io::Write as _;
            writeln!(file, "{}", HEXLOWER.encode(&request))?;
            gate.send_to(&answer, from)?;
        }
    }
}

/// Sends every request of a record to the centre from a port of its own, so that none is taken for a repetition on the
/// way: the newest first, each twice.
///
/// # Errors
/// The centre does not answer one of them.
pub fn replay(record: &Path, to: SocketAddr) -> anyhow::Result<()> {
    for one in caught(record)?.iter().rev() {
        for _ in 0..2 {
            let answer = exchange(&connect(to)?, &one.0, PATIENCE).context("a request was not answered")?;
            let code = answer.first().copied();
            ensure!(code == Some(ACCOUNTING_RESPONSE), "answered with code {code:?}");
        }
    }
    Ok(())
}

fn connect(to: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    Ok(socket)
}

/// The answer to a request; late answers to earlier ones are passed over.
fn exchange(port: &UdpSocket, request: &[u8], patience: Duration) -> Option<Vec<u8>> {
    port.set_read_timeout(Some(patience)).ok()?;
    port.send(request).ok()?;
    let mut buffer = [0; 4096];
    loop {
        let length = port.recv(&mut buffer).ok()?;
        let answer = buffer.get(..length)?;
        // The second octet is the identifier.
        if answer.get(1) == request.get(1) {
            return Some(answer.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_report_says() {
        let mut packet = vec![0; HEADER_OCTETS];
        packet.extend([40, 6, 0, 0, 0, 2]);
        packet.extend([44, 4, b's', b'1']);
        packet.extend([42, 6, 0, 0, 1, 0]);
        packet.extend([43, 6, 0, 0, 0, 5]);
        let caught = Caught(packet);
        assert_eq!(caught.status(), Status::Stop);
        assert_eq!(caught.session(), "s1");
        assert_eq!(caught.octets(), 261);
    }

    #[test]
    fn a_torn_report_says_nothing() {
        let mut packet = vec![0; HEADER_OCTETS];
        packet.extend([40, 6, 0, 0]);
        assert_eq!(Caught(packet.clone()).status(), Status::Other);
        packet.extend([0, 0]);
        packet.extend([44, 0]);
        assert_eq!(Caught(packet).session(), "");
    }
}
