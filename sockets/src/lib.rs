//! Ports that stay open from one process to the next, so that a restart or an upgrade is a short wait and no refusal.
//!
//! What is bound is handed to the service manager, which keeps a copy (`FDSTORE=1` of `sd_notify(3)`), and gives it to the next process
//! (`sd_listen_fds(3)`). Meanwhile the kernel goes on taking connections and datagrams, which wait until the next process reads them. Without a service
//! manager, or without `FileDescriptorStoreMax=` in its unit, ports are bound anew each time.
//!
//! File descriptors belong to the process, and so does what is kept here: the first call reads what was handed over.

mod lasting;
mod parting;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};

pub use lasting::Lasting;
pub use parting::until_answered;

/// Connections that may wait to be taken.
const BACKLOG: i32 = 1_024;

/// For the service manager to hear us.
const PATIENCE: Duration = Duration::from_millis(200);

/// One that the process before has left.
struct Left {
    kind: Type,
    address: SocketAddr,
    socket: Socket,
}

/// Handed over and not asked for yet.
static LEFT: LazyLock<Mutex<Vec<Left>>> = LazyLock::new(|| Mutex::new(handed_over()));

/// The socket of this kind at this address that the process before has left, or else the one that `open` makes; kept for the process after.
///
/// # Errors
/// Those of `open`.
pub fn kept(address: SocketAddr, kind: Type, open: impl FnOnce() -> io::Result<Socket>) -> io::Result<Socket> {
    let socket = match take(&mut left(), address, kind) {
        Some(socket) => {
            // Of the socket, and so perhaps not as its last owner had it.
            socket.set_nonblocking(true)?;
            socket
        }
        None => open()?,
    };
    // A free port is another each time.
    if address.port() != 0 {
        tell(
            &format!("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name(address, kind)),
            &[socket.as_fd()],
        );
    }
    Ok(socket)
}

/// A TCP port.
///
/// # Errors
/// It is taken, or the address is none of this machine's.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = kept(address, Type::STREAM, || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of a former process may linger.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    })?;
    Ok(socket.into())
}

/// Closes what nobody has asked for: ports that another configuration had.
pub fn close_the_rest() {
    for Left { kind, address, .. } in left().drain(..) {
        tracing::info!(%address, "a port of the process before is no longer wanted, and closed");
        tell(&format!("FDSTOREREMOVE=1\nFDNAME={}", name(address, kind)), &[]);
    }
}

fn left() -> MutexGuard<'static, Vec<Left>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(left: &mut Vec<Left>, address: SocketAddr, kind: Type) -> Option<Socket> {
    let at = left.iter().position(|one| one.address == address && one.kind == kind)?;
    Some(left.swap_remove(at).socket)
}

fn handed_over() -> Vec<Left> {
    let mut given = ListenFd::from_env();
    let sockets = (0..given.len()).filter_map(|at| {
        // Each stays where it is until somebody takes it as what it is.
        let tcp = given.take_tcp_listener(at).ok().flatten().map(Socket::from);
        let socket = tcp.or_else(|| given.take_udp_socket(at).ok().flatten().map(Socket::from))?;
        let left = || Some((socket.r#type().ok()?, socket.local_addr().ok()?.as_socket()?));
        let (kind, address) = left()?;
        Some(Left { kind, address, socket })
    });
    sockets.collect()
}

/// No colon may be in it.
fn name(address: SocketAddr, kind: Type) -> String {
    let kind = if kind == Type::STREAM { "tcp" } else { "udp" };
    format!("{kind}-{address}").replace(':', "_")
}

/// Tells the service manager something (`sd_notify(3)`); where there is none, nobody. One that does not read holds us up for a moment at most.
pub fn notify(message: &str) {
    tell(message, &[]);
}

fn tell(message: &str, sockets: &[BorrowedFd<'_>]) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let told = UnixDatagram::unbound().and_then(|manager| {
        manager.connect(path)?;
        manager.set_write_timeout(Some(PATIENCE))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            along.push(SendAncillaryMessage::ScmRights(sockets));
        }
        sendmsg(
            &manager,
            &[IoSlice::new(message.as_bytes())],
            &mut along,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    });
    if let Err(error) = told {
        tracing::debug!(%error, "the service manager does not hear us");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_at(address: &str, kind: Type) -> Left {
        let domain = Domain::IPV4;
        Left {
            kind,
            address: address.parse().unwrap(),
            socket: Socket::new(domain, kind, None).unwrap(),
        }
    }

    #[test]
    fn only_the_same_port_of_the_same_protocol_is_taken_and_only_once() {
        let mut left = vec![
            left_at("127.0.0.1:1", Type::STREAM),
            left_at("127.0.0.1:1", Type::DGRAM),
        ];
        let at = |text: &str| text.parse().unwrap();
        assert!(take(&mut left, at("127.0.0.1:2"), Type::STREAM).is_none());
        assert!(take(&mut left, at("127.0.0.2:1"), Type::STREAM).is_none());
        assert!(take(&mut left, at("127.0.0.1:1"), Type::DGRAM).is_some());
        assert!(take(&mut left, at("127.0.0.1:1"), Type::DGRAM).is_none());
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn a_name_is_one_that_the_service_manager_takes() {
        let of = |text: &str| name(text.parse().unwrap(), Type::DGRAM);
        assert_eq!(of("10.80.0.1:3799"), "udp-10.80.0.1_3799");
        assert!(!of("[fd00:80::1]:5300").contains(':'));
    }
}
