//! What passes now: datagrams off the wire, and what passes over TLS as the running server tells it.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use kavadam_radius::capture::Datagram;
use kavadam_radius::server::Overheard;

use super::wire::Wire;
use crate::watch::ask;

/// Packets that wait to be shown.
const ROOM: usize = 4096;

/// Something that passed.
pub(super) enum Passed {
    /// On the wire.
    Datagram(Datagram),
    /// Over TLS.
    OverTls(Overheard),
    /// So many over TLS went by unseen.
    Missed(u64),
}

/// What passes, in the order in which it is heard of, until the wire breaks. What passes over TLS is told by the server whose socket that is.
pub(super) fn listen(wire: OwnedFd, server: Option<&Path>) -> anyhow::Result<Receiver<anyhow::Result<Passed>>> {
    let (sender, passed) = sync_channel(ROOM);
    match server.map(ask::packets).transpose()? {
        Some(Some(packets)) => {
            let sender = sender.clone();
            thread::spawn(move || pass_on(packets, &sender));
        }
        Some(None) => {
            eprintln!("What passes over TLS is not shown: no kavadam with a RADIUS server runs on this state.");
        }
        None => {}
    }
    thread::spawn(move || {
        let mut wire = Wire::new(wire);
        while sender.send(wire.next().map(Passed::Datagram)).is_ok() {}
    });
    Ok(passed)
}

fn pass_on(
    packets: impl Iterator<Item = anyhow::Result<Result<Overheard, u64>>>,
    sender: &SyncSender<anyhow::Result<Passed>>,
) {
    for packet in packets {
        match packet {
            Ok(packet) => {
                let packet = packet.map_or_else(Passed::Missed, Passed::OverTls);
                if sender.send(Ok(packet)).is_err() {
                    return;
                }
            }
            // The wire goes on.
            Err(error) => return eprintln!("What passes over TLS is not shown: {error:#}"),
        }
    }
    eprintln!("The RADIUS server has ended: what passes over TLS is not shown any more.");
}
