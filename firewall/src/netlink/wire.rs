//! Netlink framing: headers and attributes. Whatever the bytes, reading ends without panic and within them.

/// Octets of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Answer kinds (`linux/netlink.h`).
pub const ERROR: u16 = 2;
pub const DONE: u16 = 3;
/// Header flags.
pub const REQUEST: u16 = 0x01;
pub const ACK: u16 = 0x04;
pub const DUMP_INTERRUPTED: u16 = 0x10;
pub const DUMP: u16 = 0x300;
pub const REPLACE: u16 = 0x100;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;
/// Marks an attribute that holds attributes; with the byte order bit it is not part of the type.
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

const fn padded(len: usize) -> usize {
    (len + 3) & !3
}

/// Builds messages one after the other in one buffer.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// One message: header, then whatever `body` writes.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(&flags.to_ne_bytes());
        self.buffer.extend_from_slice(&sequence.to_ne_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        body(self);
        let len = u32::try_from(self.buffer.len() - start).unwrap_or(u32::MAX);
        self.patch(start, &len.to_ne_bytes());
    }

    /// Another's messages after these.
    pub fn append(&mut self, other: &Self) {
        self.buffer.extend_from_slice(&other.buffer);
    }

    /// Octets without a frame, such as the fixed part after a header; the caller keeps to multiples of four.
    pub fn raw(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// One attribute, padded.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.attribute_with(kind, |w| w.raw(value));
    }

    /// A string attribute, ended by NUL as the kernel wants it.
    pub fn string(&mut self, kind: u16, value: &str) {
        self.attribute_with(kind, |w| {
            w.raw(value.as_bytes());
            w.raw(&[0]);
        });
    }

    /// A number in network order, as `nf_tables` has them.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// A number in network order, as `nf_tables` has them.
    pub fn u64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.attribute_with(kind | NESTED, body);
    }

    fn attribute_with(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        // Callers keep far below 64 KiB; were one to fail at it, the kernel would refuse the message, not misread it.
        let len = u16::try_from(self.buffer.len() - start).unwrap_or(u16::MAX);
        self.patch(start, &len.to_ne_bytes());
        self.buffer.resize(padded(self.buffer.len()), 0);
    }

    fn patch(&mut self, at: usize, octets: &[u8]) {
        if let Some(place) = self.buffer.get_mut(at..at + octets.len()) {
            place.copy_from_slice(octets);
        }
    }

    /// What has been written.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// Adds a flag to the message that starts at `at`.
    pub fn add_flag(&mut self, at: usize, flag: u16) {
        let flags = self
            .buffer
            .get(at + 6..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |f| u16::from_ne_bytes(*f));
        self.patch(at + 6, &(flags | flag).to_ne_bytes());
    }

    /// Octets so far: where the next message will start.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }
}

/// One received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// Who caused it; 0 is the kernel itself.
    pub port: u32,
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The error number of an [`ERROR`] answer, 0 for an acknowledgement.
    pub fn errno(&self) -> i32 {
        self.body
            .first_chunk()
            .map_or(-libc::EPROTO, |code| i32::from_ne_bytes(*code))
            .saturating_neg()
    }
}

/// The messages of a datagram, up to its end or the first that is malformed.
pub fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let (kind, flags) = (u16_at(rest, 4)?, u16_at(rest, 6)?);
        let (sequence, port) = (u32_at(rest, 8)?, u32_at(rest, 12)?);
        let body = rest.get(HEADER..len)?;
        rest = rest.get(padded(len)..).unwrap_or_default();
        Some(Message {
            kind,
            flags,
            sequence,
            port,
            body,
        })
    })
}

/// The attributes in `rest` as (type, value), up to its end or the first that is malformed.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE_MASK;
        let value = rest.get(4..len)?;
        rest = rest.get(padded(len)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of this type.
pub fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// A string attribute without its NUL.
pub fn text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
    std::str::from_utf8(value.get(..end)?).ok()
}

/// A number in network order.
pub fn be_u64(value: &[u8]) -> Option<u64> {
    value.first_chunk().map(|octets| u64::from_be_bytes(*octets))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|octets| u16::from_ne_bytes(*octets))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_hostile_bytes_ends_within_them(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let total: usize = messages(&bytes).map(|m| HEADER + m.body.len()).sum();
            prop_assert!(total <= bytes.len());
            let total: usize = attributes(&bytes).map(|(_, value)| 4 + value.len()).sum();
            prop_assert!(total <= bytes.len());
        }

        #[test]
        fn reads_back_what_it_wrote(
            kind in 0u16..0x3fff,
            sequence in any::<u32>(),
            values in proptest::collection::vec((0u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        ) {
            let mut w = Writer::default();
            w.message(kind, REQUEST, sequence, |w| w.nest(7, |w| values.iter().for_each(|(k, v)| w.attribute(*k, v))));
            w.message(DONE, 0, 1, |_| {});
            let read: Vec<_> = messages(w.as_slice()).collect();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (kind, REQUEST, sequence));
            let nest = attribute(read[0].body, 7).unwrap();
            let back: Vec<_> = attributes(nest).map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(back, values);
        }
    }

    #[test]
    fn stops_at_a_length_shorter_than_its_own_header() {
        assert_eq!(attributes(&[3, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
    }
}
