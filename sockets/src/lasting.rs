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
    /// What was sent may stay without an acknowledgement for so long; then the connection is broken. Keepalive alone finds nothing out while data
    /// is on its way, and TCP itself goes on for a quarter of an hour. An idle connection is broken as long after the other end's last packet,
    /// and not before several probes stayed without an answer. At least 6 seconds: the system counts in whole ones.
    pub unacknowledged: Duration,
}

/// When the other end of an idle connection is asked whether it is still there.
#[derive(Debug, Clone, Copy)]
struct Probing {
    /// After so long without a packet.
    idle: Duration,
    /// And then each so long.
    interval: Duration,
}

impl Lasting {
    /// Sets this for a TCP connection; and that small packets do not wait for each other.
    ///
    /// # Errors
    /// What the system refuses; the connection can be used all the same.
    pub fn set(self, connection: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(connection);
        let Probing { idle, interval } = self.probing();
        let keepalive = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(PROBES);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(self.unacknowledged))?;
        socket.set_tcp_keepalive(&keepalive)
    }

    /// All of it within the patience. Where that is set Linux does not count probes: it gives up as soon as one is open and nothing was heard for
    /// so long (`tcp_keepalive_timer`), so that of probes that begin later the first that is lost would end the connection.
    fn probing(self) -> Probing {
        let least = Duration::from_secs(1);
        Probing {
            idle: (self.unacknowledged / 2).max(least),
            interval: (self.unacknowledged / (2 * PROBES)).max(least),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_idle_connection_is_asked_several_times_before_the_patience_is_over() {
        for secs in [6, 7, 30, 60] {
            let unacknowledged = Duration::from_secs(secs);
            let Probing { idle, interval } = Lasting { unacknowledged }.probing();
            assert!(idle >= interval, "{secs}");
            assert!(idle + interval * PROBES <= unacknowledged, "{secs}");
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            Lasting { unacknowledged }.set(&near).unwrap();
            let socket = SockRef::from(&near);
            let set = (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
            );
            let whole = |span: Duration| Duration::from_secs(span.as_secs());
            assert_eq!(set, (whole(idle), whole(interval)));
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(unacknowledged));
        }
    }

    #[test]
    fn a_connection_whose_other_end_takes_nothing_is_broken_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_far, _) = listener.accept().unwrap();
        let lasting = Lasting {
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
