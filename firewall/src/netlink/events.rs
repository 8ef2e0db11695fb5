//! What the kernel tells on its own: a quota that was just used up, and that somebody changed our rules.

use std::collections::VecDeque;
use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use socket2::{SockFilter, SockRef};

use super::nft::{self, Table};
use super::wire;
use crate::session::PoolKey;
use crate::{FirewallError, Gate};

/// `NFNLGRP_NFTABLES`: changes to `nf_tables`, ours and everybody's, and news from objects.
const GROUP: u32 = 7;
const RECEIVE_BUFFER_OCTETS: i32 = 4 << 20;
const DATAGRAM_OCTETS: usize = 64 << 10;

/// Something the gateway must look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateEvent {
    /// The pool refused a packet, or reached its limit exactly. A hint: read the meters before acting on it.
    PoolUsedUp(PoolKey),
    /// Our table, or its chains, rules or sets, were changed, be it by ourselves. Ask [`crate::Gate::restore`].
    Changed,
    /// Somebody else changed elements or quotas of our table. Ask [`crate::Gate::restore`], after [`crate::Gate::suspect`].
    Meddled,
    /// News were lost since the receive buffer was full. Ask [`crate::Gate::pools_used_up`] and [`crate::Gate::restore`].
    Resync,
}

/// The stream of [`GateEvent`]s, from the moment it was made.
pub struct Events {
    table: Table,
    socket: TokioSocket,
    buffer: Vec<u8>,
    waiting: VecDeque<GateEvent>,
    /// The port of the socket whose changes are the gate's own.
    own: Option<u32>,
}

impl Events {
    /// Starts listening. Call it before [`crate::Gate::adopt`], so that no depletion falls between.
    ///
    /// # Errors
    /// [`FirewallError::NotPermitted`] or [`FirewallError::Kernel`].
    ///
    /// # Panics
    /// Outside a Tokio runtime with IO enabled.
    pub(crate) fn open(table: Table) -> Result<Self, FirewallError> {
        Self::listen(table).map_err(FirewallError::kernel("announce used-up quotas"))
    }

    fn listen(table: Table) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        socket.socket_ref().set_rx_buf_sz(RECEIVE_BUFFER_OCTETS)?;
        SockRef::from(socket.socket_ref()).attach_filter(&only_what_concerns_us(None, &table))?;
        socket.socket_mut().add_membership(GROUP)?;
        Ok(Self {
            table,
            socket,
            buffer: Vec::with_capacity(DATAGRAM_OCTETS),
            waiting: VecDeque::new(),
            own: None,
        })
    }

    /// Tells of elements too from now on, if others than this gate change them; where the table is the gate's alone, nobody can.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn hear_others_than(&mut self, gate: &Gate) -> Result<(), FirewallError> {
        if gate.is_owned() {
            return Ok(());
        }
        let own = gate.port();
        let filtered =
            SockRef::from(self.socket.socket_ref()).attach_filter(&only_what_concerns_us(Some(own), &self.table));
        filtered.map_err(FirewallError::kernel("announce what others change"))?;
        self.own = Some(own);
        Ok(())
    }

    /// Waits for the next event. May be cancelled at any time; nothing is lost by it.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`]; then listening is over.
    pub async fn next(&mut self) -> Result<GateEvent, FirewallError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer).await {
                Ok(()) => self.waiting.extend(read(&self.table, self.own, &self.buffer)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(GateEvent::Resync),
                Err(error) => return Err(FirewallError::kernel("announce used-up quotas")(error)),
            }
        }
    }
}

/// What a datagram says. Of pools only the kernel's own announcements are news, those with a port are of changes that a
/// process made; a limit of zero is our own brief closing of a pool (see `gate::pools`). A thousand deleted rules are one
/// change.
fn read<'a>(table: &'a Table, own: Option<u32>, datagram: &'a [u8]) -> impl Iterator<Item = GateEvent> + 'a {
    let is_changed = wire::messages(datagram).any(|message| table.is_changed_by(message.kind, message.body));
    let is_anothers = |port: u32| port != 0 && own.is_some_and(|own| own != port);
    let is_meddled = wire::messages(datagram)
        .any(|message| is_anothers(message.port) && table.has_element_changed_by(message.kind, message.body));
    wire::messages(datagram)
        .filter(|message| message.port == 0 && message.kind == nft::OBJECT_NEWS)
        .filter_map(|message| table.read_quota(message.body))
        .filter(|quota| quota.limit_octets != 0)
        .filter_map(|quota| PoolKey::from_name(&quota.name).map(GateEvent::PoolUsedUp))
        .chain(is_meddled.then_some(GateEvent::Meddled))
        .chain(is_changed.then_some(GateEvent::Changed))
}

/// A socket filter: of what processes caused, pass only changes of tables, chains, rules and sets, so that a thousand logins a second, which change
/// elements, do not wake us, nor fill the buffer; and, once it is known who we are, what others do to our table. A datagram may hold many messages of
/// one change. The first tells who caused them and, if it is the only one, of which table it is.
fn only_what_concerns_us(own: Option<u32>, table: &Table) -> Vec<SockFilter> {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_OCTET: u16 = 0x30;
    const LOAD_LENGTH: u16 = 0x80;
    const SHIFT_LEFT: u16 = 0x64;
    const OR_SAVED: u16 = 0x4c;
    const SAVE: u16 = 0x07;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_SAVED: u16 = 0x1d;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const PORT_OFFSET: u32 = 12;
    const FIRST_ELEMENT: u32 = nft::FIRST_ELEMENT_NEWS as u32;
    const IS_LITTLE: bool = cfg!(target_endian = "little");
    const KIND_LOW_OFFSET: u32 = if IS_LITTLE { 4 } else { 5 };
    /// Of the first message's length, which is below 64 KiB, the lower and the higher octet.
    const LENGTH_OFFSETS: (u32, u32) = if IS_LITTLE { (0, 1) } else { (3, 2) };
    /// Behind both headers and that of the first attribute, which is the table's name.
    const NAME_OFFSET: u32 = 24;
    /// Instructions that compare the lengths.
    const COMPARISON: u8 = 8;
    let name = table.padded_name();
    let (words, _) = name.as_chunks::<4>();
    // Two instructions for each word of the name, before the last two of all.
    let comparing = u8::try_from(words.len() * 2).unwrap_or(u8::MAX);
    let to_accept = COMPARISON + comparing;
    let mut filter = vec![
        SockFilter::new(LOAD_WORD, 0, 0, PORT_OFFSET),
        // From the kernel itself.
        SockFilter::new(JUMP_IF_EQUAL, to_accept + 4, 0, 0),
        SockFilter::new(LOAD_OCTET, 0, 0, KIND_LOW_OFFSET),
        SockFilter::new(JUMP_IF_AT_LEAST, 0, to_accept + 2, FIRST_ELEMENT),
        SockFilter::new(LOAD_WORD, 0, 0, PORT_OFFSET),
        // A word is loaded in network order.
        match own {
            Some(own) => SockFilter::new(JUMP_IF_EQUAL, to_accept + 1, 0, u32::from_be_bytes(own.to_ne_bytes())),
            None => SockFilter::new(JUMP_IF_AT_LEAST, to_accept + 1, 0, 0),
        },
        SockFilter::new(LOAD_OCTET, 0, 0, LENGTH_OFFSETS.1),
        SockFilter::new(SHIFT_LEFT, 0, 0, 8),
        SockFilter::new(SAVE, 0, 0, 0),
        SockFilter::new(LOAD_OCTET, 0, 0, LENGTH_OFFSETS.0),
        SockFilter::new(OR_SAVED, 0, 0, 0),
        SockFilter::new(SAVE, 0, 0, 0),
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(JUMP_IF_SAVED, 0, comparing, 0),
    ];
    let mut left = comparing;
    for (at, word) in (NAME_OFFSET..).step_by(4).zip(words) {
        left -= 2;
        filter.push(SockFilter::new(LOAD_WORD, 0, 0, at));
        filter.push(SockFilter::new(JUMP_IF_EQUAL, 0, left + 1, u32::from_be_bytes(*word)));
    }
    filter.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    filter.push(SockFilter::new(RETURN, 0, 0, 0));
    filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Quota;
    use proptest::prelude::*;

    fn ours() -> Table {
        Table::named("kavadam")
    }

    /// An announcement of pool 7 as the kernel sends it, caused by `port`.
    fn announcement(port: u32, limit_octets: u64) -> Vec<u8> {
        let mut batch = ours().batch(1);
        batch.quota(&Quota {
            name: "p7".to_owned(),
            limit_octets,
            used_octets: limit_octets,
        });
        let (writer, _) = batch.finish().unwrap();
        // Cut away the batch's own frame (20 octets each end).
        let mut bytes = writer.as_slice()[20..writer.len() - 20].to_vec();
        bytes[12..16].copy_from_slice(&port.to_ne_bytes());
        bytes
    }

    #[test]
    fn hears_the_kernel_and_nobody_else() {
        let heard = |port, limit| read(&ours(), None, &announcement(port, limit)).collect::<Vec<_>>();
        assert_eq!(heard(0, 1000), [GateEvent::PoolUsedUp(PoolKey(7))]);
        assert_eq!(heard(4711, 1000), []);
        assert_eq!(heard(0, 0), [], "our own closing of a pool is no news");
    }

    /// As the kernel announces that a process removed something of a table.
    fn removal(kind: u16, table: &str) -> Vec<u8> {
        let mut writer = wire::Writer::default();
        writer.message(kind, 0, 1, |w| {
            w.raw(&[1, 0, 0, 0]);
            w.string(1, table);
        });
        let mut bytes = writer.as_slice().to_vec();
        bytes[12..16].copy_from_slice(&4711_u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn hears_that_our_table_was_changed_by_anybody() {
        const DELETED_TABLE: u16 = 0x0a02;
        const DELETED_RULE: u16 = 0x0a08;
        const DELETED_ELEMENT: u16 = 0x0a0e;
        let heard = |bytes: &[u8]| read(&ours(), Some(7), bytes).collect::<Vec<_>>();
        let one = removal(DELETED_RULE, "kavadam");
        assert_eq!(heard(&one), [GateEvent::Changed]);
        assert_eq!(
            heard(&[one, removal(DELETED_TABLE, "kavadam")].concat()),
            [GateEvent::Changed]
        );
        assert_eq!(heard(&removal(DELETED_TABLE, "kavadam-lan1")), [], "another gate's");
        assert_eq!(
            heard(&removal(DELETED_ELEMENT, "kavadam")),
            [GateEvent::Meddled],
            "4711 is not we"
        );
        let own = removal(DELETED_ELEMENT, "kavadam");
        assert_eq!(
            read(&ours(), Some(4711), &own).count(),
            0,
            "as a thousand logins a second do"
        );
        assert_eq!(read(&ours(), None, &own).count(), 0, "nobody knows yet who we are");
    }

    proptest! {
        #[test]
        fn reading_hostile_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&ours(), None, &bytes).count() <= bytes.len() / 16 + 1);
        }
    }
}
