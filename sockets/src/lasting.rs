//! Connections that are kept for hours and carry small packets.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Probes of an idle connection that may stay without an answer.
const PROBES: u32 = 3;

/// How soon an end that is gone without a word is found out.
#[derive(Debug, Clone, Copy)]
pub struct Lasting {
    /// After so long without a packet the system asks whether the other end is still there.
    pub idle: Duration,
    /// What was sent, or asked so, may stay without an acknowledgement for so long; then the connection is broken. Keepalive alone finds
    /// nothing out while data is on its way, and TCP itself goes on for a quarter of an hour.
    pub unacknowledged: Duration,
}

impl Lasting {
    /// Sets this for a TCP connection; and that small packets do not wait for each other.
    ///
    /// # Errors
    /// What the system refuses; the connection can be used all the same.
    pub fn set(self, connection: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(connection);
        let keepalive = TcpKeepalive::new()
            .with_time(self.idle)
            .with_interval((self.unacknowledged / PROBES).max(Duration::from_secs(1)))
            .with_retries(PROBES);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(self.unacknowledged))?;
        socket.set_tcp_keepalive(&keepalive)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_connection_whose_other_end_takes_nothing_is_broken_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_far, _) = listener.accept().unwrap();
        let lasting = Lasting {
            idle: Duration::from_mins(1),
            unacknowledged: Duration::from_secs(1),
        };
        lasting.set(&near).unwrap();
        assert!(near.nodelay().unwrap());
        near.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let began = Instant::now();
        // Until the buffers of both ends are full, and then on.
        let error = loop {
            if let Err(error) = near.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "after {:?}", began.elapsed());
    }
}
