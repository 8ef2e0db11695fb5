//! Packets out of a connection and into it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::wire::PacketStream;

/// Packets written in one go.
const MOST_AT_ONCE: usize = 64;

/// Why no packet follows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The other end has said all it had to say.
    #[error("it was closed")]
    Closed,
    /// Nothing came for too long.
    #[error("it was idle")]
    Idle,
    /// A packet took too long to come.
    #[error("a packet was not finished")]
    Slow,
    /// What came is no packet.
    #[error("a packet has an impossible length")]
    Length,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// The reading end.
pub(crate) struct Inbox<R> {
    from: R,
    stream: PacketStream,
    /// When the packet that is not complete began.
    begun: Option<Instant>,
    /// For the first octet of a packet.
    idle: Duration,
    /// From its first octet to its last: one that trickles in holds its place no longer.
    packet: Duration,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub(crate) fn new(from: R, idle: Duration, packet: Duration) -> Self {
        Self {
            from,
            stream: PacketStream::default(),
            begun: None,
            idle,
            packet,
        }
    }

    /// The next packet. May be dropped at any time and called again: no octet is lost.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, End> {
        let idle_at = Instant::now() + self.idle;
        loop {
            if let Some(packet) = self.stream.take().map_err(|_| End::Length)? {
                self.begun = None;
                return Ok(packet);
            }
            if self.stream.is_begun() {
                self.begun.get_or_insert_with(Instant::now);
            }
            let (until, late) = match self.begun {
                Some(begun) => (begun + self.packet, End::Slow),
                None => (idle_at, End::Idle),
            };
            match timeout_at(until, self.from.read_buf(self.stream.buffer())).await {
                Err(_) => return Err(late),
                Ok(Ok(0)) => return Err(End::Closed),
                Ok(Ok(_)) => {}
                // Ended without a word of farewell: nothing was cut off that the lengths do not tell.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(End::Closed),
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }
}

/// Writes what comes through the channel, until that is closed and empty. Whoever does not read in time is given up.
pub(crate) async fn write_all(
    mut packets: mpsc::Receiver<Vec<u8>>,
    mut to: impl AsyncWrite + Unpin,
    patience: Duration,
) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    while let Some(first) = packets.recv().await {
        let work = async {
            to.write_all(&first).await?;
            for _ in 1..MOST_AT_ONCE {
                let Ok(next) = packets.try_recv() else { break };
                to.write_all(&next).await?;
            }
            to.flush().await
        };
        timeout(patience, work).await.map_err(late)??;
    }
    timeout(patience, to.shutdown()).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_mins(1);
    const PACKET: Duration = Duration::from_secs(10);

    fn packet() -> Vec<u8> {
        let mut packet = vec![7; 20];
        packet[2..4].copy_from_slice(&[0, 20]);
        packet
    }

    #[tokio::test(start_paused = true)]
    async fn a_packet_that_trickles_in_is_given_up_in_time() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut inbox = Inbox::new(near, IDLE, PACKET);
        let trickle = async {
            for octet in packet() {
                far.write_all(&[octet]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
        };
        let began = Instant::now();
        let end = tokio::select! {
            end = inbox.next() => end.unwrap_err(),
            () = trickle => unreachable!(),
        };
        assert!(matches!(end, End::Slow), "{end:?}");
        assert!(began.elapsed() <= PACKET + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_half_a_packet_end_a_connection_each_in_its_way() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut inbox = Inbox::new(near, IDLE, PACKET);
        far.write_all(&packet()).await.unwrap();
        assert_eq!(inbox.next().await.unwrap(), packet());
        assert!(matches!(inbox.next().await, Err(End::Idle)));
        far.write_all(&packet()[..19]).await.unwrap();
        drop(far);
        assert!(matches!(inbox.next().await, Err(End::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_given_up() {
        let (_far, near) = tokio::io::duplex(30);
        let (sender, packets) = mpsc::channel(4);
        sender.try_send(packet()).unwrap();
        sender.try_send(packet()).unwrap();
        let written = write_all(packets, near, PACKET).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
