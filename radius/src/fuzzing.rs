//! Doors for fuzzing: what stands behind the ports, without them and at a time that is given. Only with the feature `fuzzing`.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use kavadam_domain::Timestamp;

use crate::Secret;
use crate::dynamic::{DynamicConfig, DynamicDoor, DynamicHandler};
use crate::exchange::{Peer, Question};
use crate::wire::Packet;

#[cfg(feature = "server")]
pub use crate::server::fuzzing::{Doors, Intake, Port, Taken, Work};

/// A gate's door for orders. Its handler must not wait.
pub struct OrderDoor<H>(DynamicDoor<H>);

impl<H: DynamicHandler> OrderDoor<H> {
    /// A door without a port.
    #[must_use]
    pub fn new(config: DynamicConfig, handler: H) -> Self {
        Self(DynamicDoor::new(config, handler))
    }

    /// The answer to a datagram; `None` is silence.
    #[must_use]
    pub fn answer(&self, datagram: &[u8], from: SocketAddr, now: Timestamp) -> Option<Arc<[u8]>> {
        self.0.answer_at(datagram, from, now).now_or_never().flatten()
    }
}

/// Whether a client takes a datagram for the answer to its request, sent to `peer`. `is_strict`: not without Message-Authenticator.
#[must_use]
pub fn is_answer(
    request: &Packet,
    (peer, secret): (SocketAddr, &Secret),
    is_strict: bool,
    datagram: &[u8],
    from: SocketAddr,
) -> bool {
    let peer = Peer {
        address: peer,
        secret,
        is_strict,
    };
    let question = Question::new(&peer, request.code(), *request.authenticator(), None);
    question.judge(datagram, from).is_ok()
}
