//! Packets out of a stream of octets (RFC 6613 §2.6): each tells its own length.

use bytes::{Buf, BytesMut};

use super::{HEADER_OCTETS, MAX_PACKET_OCTETS, Malformed};

/// The length that the first octets of a packet announce; `None` while they are too few.
///
/// # Errors
/// [`Malformed::Length`] below 20 or above 4096.
pub fn announced_length(octets: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(&[_, _, high, low]) = octets.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if (HEADER_OCTETS..=MAX_PACKET_OCTETS).contains(&length) {
        Ok(Some(length))
    } else {
        Err(Malformed::Length)
    }
}

/// What was read from a stream and not yet taken. Whoever takes every packet before reading on holds at most one packet and one reading.
#[derive(Debug, Default)]
pub struct PacketStream {
    buffer: BytesMut,
}

impl PacketStream {
    /// Where to read to.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(MAX_PACKET_OCTETS);
        &mut self.buffer
    }

    /// Whether a packet has begun and is not complete.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next packet, octet for octet; `None` until all of it is there.
    ///
    /// # Errors
    /// [`Malformed::Length`], as soon as four octets are there: nothing after it can be told apart, so that the connection must end
    /// (RFC 6613 §2.6.4).
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(length) = announced_length(&self.buffer)? else {
            return Ok(None);
        };
        let Some(packet) = self.buffer.get(..length).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.buffer.advance(length);
        Ok(Some(packet))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(length: usize, filling: u8) -> Vec<u8> {
        let mut packet = vec![filling; length];
        packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        packet
    }

    proptest! {
        #[test]
        fn packets_come_out_whole_however_the_stream_is_cut(
            lengths in proptest::collection::vec(20_usize..=4096, 0..6),
            cuts in proptest::collection::vec(1_usize..5000, 1..8),
        ) {
            let sent: Vec<_> = lengths.iter().zip(1_u8..).map(|(length, n)| packet(*length, n)).collect();
            let octets = sent.concat();
            let (mut stream, mut taken, mut rest) = (PacketStream::default(), Vec::new(), octets.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                stream.buffer().extend_from_slice(now);
                rest = later;
                while let Some(packet) = stream.take().unwrap() { taken.push(packet); }
                prop_assert!(stream.buffer.len() < MAX_PACKET_OCTETS);
            }
            prop_assert_eq!(taken, sent);
            prop_assert!(!stream.is_begun());
        }
    }

    #[test]
    fn an_impossible_length_is_refused_before_the_packet_is_read() {
        for length in [0_u16, 19, 4097, u16::MAX] {
            let [high, low] = length.to_be_bytes();
            let mut stream = PacketStream::default();
            stream.buffer().extend_from_slice(&[1, 0, high]);
            assert_eq!(stream.take(), Ok(None));
            stream.buffer().extend_from_slice(&[low]);
            assert_eq!(stream.take(), Err(Malformed::Length), "{length}");
        }
    }
}
