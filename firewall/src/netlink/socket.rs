//! A request socket. The kernel works while we send, so every answer is waiting when `send` returns: nothing here blocks,
//! and an answer that is not there is an error, never a wait.

use std::io;
use std::time::Duration;

use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use super::nft::{self, Batch, Counter, Element, Quota, Table};
use super::wire::{self, Writer};

/// Keys in one request: as many answers must fit in the receive buffer.
pub(super) const KEYS_PER_REQUEST: usize = 512;
const RECEIVE_BUFFER_OCTETS: usize = 8 << 20;
/// The kernel's dumps come in pieces of at most 32 KiB.
const DATAGRAM_OCTETS: usize = 64 << 10;
/// Less than this a socket takes as it is.
const USUAL_OCTETS: usize = 64 << 10;
/// A dump that meets a change of the rule set is begun again, so often at most.
const DUMP_ATTEMPTS: u32 = 20;
const DUMP_PAUSE: Duration = Duration::from_millis(5);

/// A batch of which nothing was done.
#[derive(Debug)]
pub struct Refused {
    pub error: io::Error,
    /// Of the message that the kernel objects to, if it is that.
    pub number: Option<u32>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { error, number: None }
    }
}

/// What was waiting in the socket.
pub(super) enum Received<R> {
    Nothing,
    Datagram(Option<R>),
}

/// A connection to one kernel subsystem.
pub struct Channel {
    /// Which is spoken of; the kernel's other subsystems know of none.
    pub(super) table: Table,
    port: u32,
    /// What changes while it is read may be there or not.
    is_at_a_glance: bool,
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    /// To `nf_tables`, of one table.
    pub fn netfilter(table: Table) -> io::Result<Self> {
        Self::open(NETLINK_NETFILTER, table)
    }

    /// To routing and neighbours.
    pub fn route() -> io::Result<Self> {
        Self::open(NETLINK_ROUTE, Table::named(""))
    }

    fn open(protocol: isize, table: Table) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        // Errors then come without a copy of the request.
        socket.set_cap_ack(true)?;
        // Beyond the system's maximum, as CAP_NET_ADMIN may.
        socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER_OCTETS).unwrap_or(i32::MAX))?;
        Ok(Self {
            table,
            port,
            is_at_a_glance: false,
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(DATAGRAM_OCTETS),
        })
    }

    /// For who looks again at what matters: on a busy gate it would never read all of something at one moment.
    pub fn at_a_glance(self) -> Self {
        Self {
            is_at_a_glance: true,
            ..self
        }
    }

    /// By which the kernel knows the socket.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sequence numbers are never used twice in a row of requests, so a stale answer is never taken for a fresh one.
    pub fn next_sequence(&mut self) -> u32 {
        // A batch numbers its own messages from here; none has more than this many.
        self.sequence = self.sequence.wrapping_add(1 << 12);
        self.sequence
    }

    /// Makes a batch to be filled and passed to [`Channel::commit`].
    pub fn batch(&mut self) -> Batch {
        let sequence = self.next_sequence();
        self.table.batch(sequence)
    }

    /// Carries out a batch, all or nothing.
    pub fn commit(&mut self, batch: Batch) -> io::Result<()> {
        self.commit_or_tell(batch).map_err(|refused| refused.error)
    }

    /// The same, and which of its messages was refused.
    pub fn commit_or_tell(&mut self, batch: Batch) -> Result<(), Refused> {
        let Some((writer, last)) = batch.finish() else {
            return Ok(());
        };
        self.send(&writer)?;
        let mut answer = None;
        // After an error its whole list follows; the first entry is the cause.
        while let Received::Datagram(result) = self.receive(|message| {
            let errno = message.errno();
            (message.kind == wire::ERROR && (errno != 0 || message.sequence == last))
                .then_some((errno, message.sequence))
        })? {
            answer = answer.or(result);
        }
        let (errno, number) = answer.ok_or_else(no_answer)?;
        errno_result(errno).map_err(|error| Refused {
            error,
            number: Some(number),
        })
    }

    /// Makes our table of this family with these flags, or changes them.
    pub fn make_table(&mut self, family: u8, flags: u32) -> io::Result<()> {
        let mut batch = self.batch();
        batch.table(family, flags);
        self.commit(batch)
    }

    /// The flags of our table.
    pub fn table_flags(&mut self) -> io::Result<u32> {
        let sequence = self.next_sequence();
        let mut flags = None;
        let errno = self.ask(&self.table.get_table(sequence), sequence, |body| {
            flags = flags.or_else(|| nft::read_table_flags(body));
        })?;
        errno_result(errno)?;
        flags.ok_or_else(no_answer)
    }

    /// Whether the table, and this chain in it, are there.
    pub fn has_chain(&mut self, name: &str) -> io::Result<bool> {
        let sequence = self.next_sequence();
        match self.ask(&self.table.get_chain(name, sequence), sequence, |_| {})? {
            libc::ENOENT => Ok(false),
            errno => errno_result(errno).map(|()| true),
        }
    }

    /// The chain of each rule of our table of this family.
    pub fn all_rules(&mut self, family: u8) -> io::Result<Vec<String>> {
        let table = self.table.clone();
        self.dump(
            |sequence| table.dump_rules(family, sequence),
            |all, body| all.extend(table.read_rule_chain(body)),
        )
    }

    /// Reads these keys of a set; keys that are not in it are left out.
    pub fn elements(&mut self, set: &str, keys: &[&[u8]]) -> io::Result<Vec<Element>> {
        self.elements_in(nft::FAMILY_INET, set, keys)
    }

    /// The same of our table of this family.
    pub fn elements_in(&mut self, family: u8, set: &str, keys: &[&[u8]]) -> io::Result<Vec<Element>> {
        let mut found = Vec::with_capacity(keys.len());
        let mut rest = keys;
        while !rest.is_empty() {
            let (chunk, _) = rest.split_at(rest.len().min(KEYS_PER_REQUEST));
            let before = found.len();
            let sequence = self.next_sequence();
            let errno = self.ask(
                &self.table.get_elements(family, set, chunk, sequence),
                sequence,
                |body| {
                    found.extend(nft::read_elements(body));
                },
            )?;
            let answered = found.len() - before;
            let done = match errno {
                0 => chunk.len(),
                // The one after those answered is missing.
                libc::ENOENT => answered + 1,
                other => return Err(io::Error::from_raw_os_error(other)),
            };
            rest = rest.get(done..).unwrap_or_default();
        }
        Ok(found)
    }

    /// Reads a whole set. Slow when there are many: for the start of the process only.
    pub fn all_elements(&mut self, set: &str) -> io::Result<Vec<Element>> {
        self.all_elements_in(nft::FAMILY_INET, set)
    }

    /// The same of our table of this family.
    pub fn all_elements_in(&mut self, family: u8, set: &str) -> io::Result<Vec<Element>> {
        let table = self.table.clone();
        self.dump(
            |sequence| table.dump_elements(family, set, sequence),
            |all, body| all.extend(nft::read_elements(body)),
        )
    }

    /// Whether there is a quota object of this name.
    pub fn has_quota(&mut self, name: &str) -> io::Result<bool> {
        match self.quota(name) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads one quota object.
    pub fn quota(&mut self, name: &str) -> io::Result<Quota> {
        let sequence = self.next_sequence();
        let mut quota = None;
        let table = self.table.clone();
        let errno = self.ask(&table.get_quota(name, sequence), sequence, |body| {
            quota = quota.take().or_else(|| table.read_quota(body));
        })?;
        errno_result(errno)?;
        quota.ok_or_else(no_answer)
    }

    /// Reads one counter of our table of this family; `None`: it is not there.
    pub fn counter(&mut self, family: u8, name: &str) -> io::Result<Option<Counter>> {
        let sequence = self.next_sequence();
        let mut counter = None;
        let errno = self.ask(&self.table.get_counter(family, name, sequence), sequence, |body| {
            counter = counter.or_else(|| nft::read_counter(body));
        })?;
        match errno {
            libc::ENOENT => Ok(None),
            errno => errno_result(errno).map(|()| counter),
        }
    }

    /// Reads all quota objects.
    pub fn all_quotas(&mut self) -> io::Result<Vec<Quota>> {
        let table = self.table.clone();
        self.dump(
            |sequence| table.dump_quotas(sequence),
            |all, body| all.extend(table.read_quota(body)),
        )
    }

    /// Empties the connection table.
    pub fn forget_connections(&mut self) -> io::Result<()> {
        let sequence = self.next_sequence();
        let errno = self.ask(&nft::delete_connections(sequence), sequence, |_| {})?;
        errno_result(errno)
    }

    /// Sends one request and passes on the bodies of its answers until the acknowledgement; returns that error number.
    pub fn ask(&mut self, request: &Writer, sequence: u32, mut each: impl FnMut(&[u8])) -> io::Result<i32> {
        self.send(request)?;
        loop {
            let end = self.receive(|message| {
                if message.sequence != sequence {
                    return None;
                }
                if message.kind == wire::ERROR {
                    return Some(message.errno());
                }
                each(message.body);
                None
            })?;
            match end {
                Received::Nothing => return Err(no_answer()),
                Received::Datagram(Some(errno)) => return Ok(errno),
                Received::Datagram(None) => {}
            }
        }
    }

    /// Asks for everything of a kind; `each` takes what one message holds.
    pub fn dump<T>(
        &mut self,
        request: impl Fn(u32) -> Writer,
        each: impl Fn(&mut Vec<T>, &[u8]),
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.next_sequence();
            self.send(&request(sequence))?;
            let (mut all, mut interrupted) = (Vec::new(), false);
            let errno = loop {
                let end = self.receive(|message| {
                    if message.sequence != sequence {
                        return None;
                    }
                    interrupted |= message.flags & wire::DUMP_INTERRUPTED != 0;
                    match message.kind {
                        wire::DONE => return Some(0),
                        wire::ERROR => return Some(message.errno()),
                        _ => each(&mut all, message.body),
                    }
                    None
                })?;
                match end {
                    Received::Nothing => return Err(no_answer()),
                    Received::Datagram(Some(errno)) => break errno,
                    Received::Datagram(None) => {}
                }
            };
            match errno {
                0 if !interrupted || self.is_at_a_glance => return Ok(all),
                // Many changes in a row, as when many log in at once, are soon over.
                0 | libc::EINTR => std::thread::sleep(DUMP_PAUSE),
                other => return Err(io::Error::from_raw_os_error(other)),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EINTR))
    }

    pub(super) fn send(&mut self, writer: &Writer) -> io::Result<()> {
        // What an earlier request left unread must not take the room of this one's answers.
        while let Received::Datagram(_) = self.receive(|_| None::<()>)? {}
        if writer.len() > USUAL_OCTETS {
            // It is sent as a whole or not at all. Beyond the system's maximum, if this process may: in a container it may not, and what then does
            // not fit the kernel says.
            let octets = writer.len() * 2;
            if rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, octets).is_err() {
                rustix::net::sockopt::set_socket_send_buffer_size(&self.socket, octets)?;
            }
        }
        let sent = self.socket.send(writer.as_slice(), 0)?;
        if sent == writer.len() {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EMSGSIZE))
        }
    }

    /// Reads one datagram and returns the first `Some` that `each` makes of its messages.
    pub(super) fn receive<R>(&mut self, mut each: impl FnMut(wire::Message) -> Option<R>) -> io::Result<Received<R>> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer, 0) {
            Ok(_) => {
                let mut first = None;
                for message in wire::messages(&self.buffer) {
                    let one = each(message);
                    first = first.or(one);
                }
                Ok(Received::Datagram(first))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// An error number as a result; 0 is success.
pub fn errno_result(errno: i32) -> io::Result<()> {
    if errno == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(errno))
    }
}

pub(super) fn no_answer() -> io::Error {
    io::Error::other("the kernel did not answer")
}
