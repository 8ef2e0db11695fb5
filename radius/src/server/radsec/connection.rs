//! One gate's connection: requests in, answers out; orders out, their answers in.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kavadam_access::api::{Candidates, NasEntry, NasProof};
use kavadam_domain::{CertificateName, NasId};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::places::{Place, Seat};
use super::turns::Turns;
use super::{Hall, RadsecCounts, RadsecLimits, refused};
use crate::clock;
use crate::server::authentication::failed;
use crate::server::counts::Unanswered;
use crate::server::intake::Origin;
use crate::server::{Centre, DropReason, Overheard};
use crate::tls::flights::Heard;
use crate::tls::names::names_of;
use crate::tls::papers::Papers;
use crate::tls::pipe::{End, Inbox, write_all};
use crate::tls::{GateLink, Kept, ServerSide, Version};
use crate::wire::token::{request_of_token, token_of, with_message_authenticator, with_token};
use crate::wire::{Code, RADSEC_SECRET};

/// A copy of a request that is under way on another connection of the gate: its answer is waited for, in such steps. So is room among what the
/// gate has under way everywhere.
const COPY_WAIT: Duration = Duration::from_millis(100);
const COPY_WAITS: u32 = 50;

/// A connection whose handshake is done.
pub(super) struct Connection<C> {
    pub(super) hall: Arc<Hall<C>>,
    pub(super) from: SocketAddr,
    /// Our end.
    pub(super) own: SocketAddr,
    pub(super) version: Version,
    pub(super) limits: RadsecLimits,
    pub(super) counts: Arc<RadsecCounts>,
    /// As they are now.
    pub(super) certificates: Arc<Kept<ServerSide>>,
    /// As they were at the handshake.
    pub(super) met_by: Arc<ServerSide>,
}

/// A gate at the other end.
struct Line<C> {
    connection: Connection<C>,
    nas: NasId,
    names: Vec<CertificateName>,
    outbox: mpsc::Sender<Vec<u8>>,
    link: Arc<GateLink>,
    _place: Place,
    /// Requests under way; those beyond wait in the connection.
    outstanding: Arc<Semaphore>,
    /// Of the gate, for all its connections.
    turns: Arc<Turns>,
    tasks: TaskTracker,
    /// To close the connection from within a request.
    hang_up: CancellationToken,
}

impl<C: Centre> Connection<C> {
    /// Serves until the other end closes, misbehaves or falls silent, or until cancelled; then finishes what was begun.
    pub(super) async fn run(self, stream: TlsStream<TcpStream>, place: Place, cancel: CancellationToken) {
        let shown = stream.get_ref().1.peer_certificates();
        let shown: Vec<_> = shown
            .unwrap_or_default()
            .iter()
            .cloned()
            .map(CertificateDer::into_owned)
            .collect();
        let names = shown.first().map(names_of).unwrap_or_default();
        let papers = Papers::new(shown, Arc::clone(&self.met_by));
        let Some(Some(nas)) = cancel.run_until_cancelled(self.whose(&names)).await else {
            return;
        };
        let hang_up = cancel.child_token();
        let Some(Seat { place, is_others }) = place.of_a_gate(nas.id, &hang_up) else {
            self.counts.too_many.fetch_add(1, Ordering::Relaxed);
            return refused(self.from, &"too many connections of gates");
        };
        if is_others {
            self.counts.too_many.fetch_add(1, Ordering::Relaxed);
            refused(self.from, &"too many connections of its gate: the oldest is ended");
        }
        tracing::info!(nas.id = %nas.id, version = ?self.version, "a gate is connected by RadSec");
        let (reading, writing) = tokio::io::split(stream);
        let (outbox, packets) = mpsc::channel(self.limits.outstanding);
        let inbox = Inbox::new(reading, self.limits.idle, self.limits.packet);
        let (orderly, orders) = mpsc::channel(self.limits.outstanding);
        let link = Arc::new(GateLink::new(self.version, orderly));
        self.hall.links.add(nas.id, Arc::clone(&link));
        let links = Arc::clone(&self.hall.links);
        let write = write_all(packets, writing, self.limits.packet);
        let turns = self.hall.under_way.of(nas.id);
        let gate = Arc::new(Line {
            outstanding: Arc::new(Semaphore::new(self.limits.outstanding)),
            connection: self,
            nas: nas.id,
            names,
            outbox,
            link: Arc::clone(&link),
            _place: place,
            turns,
            tasks: TaskTracker::new(),
            hang_up,
        });
        let read = async {
            let end = tokio::select! {
                end = gate.read(inbox) => end,
                end = gate.stay_its_own(papers, orders) => end,
            };
            // Dropping the last ways to it lets the writer end.
            links.remove(nas.id, &link);
            gate.tasks.close();
            gate.tasks.wait().await;
            end
        };
        tokio::pin!(write);
        let why = tokio::select! {
            end = read => end,
            // Who does not take answers gets no more of them worked out.
            result = &mut write => {
                links.remove(nas.id, &link);
                return tracing::info!(nas.id = %nas.id, ?result, "a gate's RadSec connection broke");
            }
        };
        tracing::info!(nas.id = %nas.id, %why, "a gate's RadSec connection ended");
        drop((gate, link));
        _ = write.await;
    }
}

impl<C: Centre> Connection<C> {
    /// The gate with such a certificate; `None` if there is none, or that is not to be learnt now.
    async fn whose(&self, names: &[CertificateName]) -> Option<Arc<NasEntry>> {
        let known = timeout(self.limits.handshake, self.hall.centre.nas_by_certificate(names));
        match known.await {
            Ok(Ok(Some(nas))) => return Some(nas),
            Ok(Ok(None)) => {
                self.counts.no_gate.fetch_add(1, Ordering::Relaxed);
                refused(self.from, &"no gate's record names its certificate");
            }
            // The gate comes again.
            Ok(Err(error)) => _ = failed(error),
            Err(_) => refused(self.from, &"it takes too long to learn which gate it is"),
        }
        None
    }
}

impl<C: Centre> Line<C> {
    async fn read<R: tokio::io::AsyncRead + Unpin>(self: &Arc<Self>, mut inbox: Inbox<R>) -> String {
        loop {
            let packet = tokio::select! {
                () = self.hang_up.cancelled() => return "it was ended here".to_owned(),
                packet = inbox.next() => packet,
            };
            let packet = match packet {
                Ok(packet) => packet,
                Err(end) => {
                    if matches!(end, End::Length) {
                        self.connection.counts.broken.fetch_add(1, Ordering::Relaxed);
                    }
                    return end.to_string();
                }
            };
            if self.take(packet).await.is_break() {
                return "it was ended here".to_owned();
            }
        }
    }

    /// Hands orders on, each after a look at whose the certificate is, and whether it is good; looks at that now and then besides. Resolves when
    /// it is this gate's no more, has expired or was revoked: one that sends nothing that is answered would keep its connection for ever, and
    /// hear what is no business of its own.
    async fn stay_its_own(&self, mut papers: Papers, mut orders: mpsc::Receiver<Vec<u8>>) -> String {
        loop {
            let order = timeout(self.connection.limits.known_every, orders.recv()).await;
            if let Err(error) = papers.look_again(&self.connection.certificates.current(), clock::now()) {
                return format!("its certificate is good no more: {error}");
            }
            let known = timeout(self.connection.limits.handshake, self.gate()).await;
            match (known, order) {
                (Ok(Err(Unanswered { nas: None, .. })), _) => {
                    return "no record of this gate names its certificate any more".to_owned();
                }
                (Ok(Ok(_)), Ok(Some(order))) => self.say(order).await,
                // Not to be learnt now: the order comes again.
                _ => {}
            }
        }
    }

    async fn take(self: &Arc<Self>, packet: Vec<u8>) -> ControlFlow<()> {
        let Connection { from, own, .. } = self.connection;
        self.tell_of([from, own], &packet);
        let code = match packet.first().and_then(|octet| Code::from_octet(*octet)) {
            Some(code @ (Code::AccessRequest | Code::StatusServer | Code::AccountingRequest)) => code,
            Some(code) if !code.is_request() => return self.take_answer(&packet),
            // A code that is not ours to answer breaks no connection (RFC 6613 §2.6.4).
            _ => {
                let of_this_gate = self.of_this_gate(DropReason::WrongPort);
                let counts = &self.connection.hall.counts;
                counts.add_unanswered(self.connection.from.ip(), of_this_gate);
                return ControlFlow::Continue(());
            }
        };
        // Nothing is waited for here that other gates may hold: behind this packet there may be a question whether we live, or the answer to an order.
        let own = tokio::select! {
            () = self.hang_up.cancelled() => return ControlFlow::Break(()),
            own = Arc::clone(&self.outstanding).acquire_owned() => own,
        };
        let line = Arc::clone(self);
        self.tasks.spawn(async move {
            let _own = own;
            line.work(code, &packet).await;
        });
        ControlFlow::Continue(())
    }

    /// To an order. One that is forged ends the connection, as a request would.
    fn take_answer(&self, packet: &[u8]) -> ControlFlow<()> {
        match self.link.answered(packet) {
            Heard::Answer | Heard::Unasked => ControlFlow::Continue(()),
            Heard::Broken => {
                self.dropped(self.of_this_gate(DropReason::Unverified));
                ControlFlow::Break(())
            }
        }
    }

    /// Answers a request when it is its turn, if the other end still is there then.
    async fn work(&self, code: Code, packet: &[u8]) {
        let turn = tokio::select! {
            biased;
            turn = self.connection.hall.under_way.next(&self.turns, code) => turn,
            () = self.hang_up.cancelled() => return,
            () = self.outbox.closed() => return,
        };
        // Thousands may wait: what answering takes is made room for only then.
        let answered = Box::pin(self.answer(code == Code::AccountingRequest, packet)).await;
        // Who does not read keeps no other gate waiting.
        drop(turn);
        match answered {
            Ok(reply) => self.say(reply).await,
            Err(unanswered) => self.dropped(unanswered),
        }
    }

    async fn say(&self, packet: Vec<u8>) {
        let Connection { from, own, .. } = self.connection;
        self.tell_of([own, from], &packet);
        // A writer that is gone has ended the connection.
        _ = self.outbox.send(packet).await;
    }

    /// To who looks on.
    fn tell_of(&self, ends: [SocketAddr; 2], packet: &[u8]) {
        let has_token = self.connection.version == Version::V1_1;
        let tap = &self.connection.hall.tap;
        tap.hear(|| Overheard::new(self.nas, ends, has_token, packet));
    }

    /// What was not answered is silence, as over UDP; but what no honest client sends ends the connection (RFC 6613 §2.6.4).
    fn dropped(&self, unanswered: Unanswered) {
        let from = self.connection.from.ip();
        self.connection.hall.counts.add_unanswered(from, unanswered);
        if matches!(
            unanswered.reason,
            DropReason::Truncated
                | DropReason::Length
                | DropReason::Attributes
                | DropReason::Unverified
                | DropReason::UnknownSource
        ) {
            self.connection.counts.broken.fetch_add(1, Ordering::Relaxed);
            self.hang_up.cancel();
        }
    }

    const fn of_this_gate(&self, reason: DropReason) -> Unanswered {
        Unanswered::by(self.nas, reason)
    }

    async fn answer(&self, is_accounting: bool, packet: &[u8]) -> Result<Vec<u8>, Unanswered> {
        let datagram = match self.connection.version {
            Version::V1_0 => with_message_authenticator(packet),
            Version::V1_1 => request_of_token(packet),
        };
        let datagram = datagram.map_err(|malformed| self.of_this_gate(malformed.into()))?;
        let reply = self.decide(is_accounting, &datagram).await?;
        match (self.connection.version, token_of(packet)) {
            (Version::V1_1, Some(token)) => {
                with_token(&reply, token).map_err(|_| self.of_this_gate(DropReason::Failed))
            }
            _ => Ok(reply.to_vec()),
        }
    }

    /// The same doors as over UDP. A copy that comes over another connection, since the gate lost the one before, is known for one, from
    /// wherever it comes.
    async fn decide(&self, is_accounting: bool, datagram: &[u8]) -> Result<Arc<[u8]>, Unanswered> {
        let hall = &self.connection.hall;
        let origin = Origin::of_a_connection(self.connection.from.ip());
        let mut waits = 0;
        loop {
            let gate = self.gate().await?;
            let answered = if is_accounting {
                hall.acct.work_for(&gate, datagram, origin).await
            } else {
                hall.auth.work_for(&gate, datagram, origin).await
            };
            match answered {
                Err(Unanswered {
                    reason: DropReason::InProgress | DropReason::Busy,
                    ..
                }) if waits < COPY_WAITS => waits += 1,
                answered => return answered,
            }
            tokio::time::sleep(COPY_WAIT).await;
        }
    }

    /// Asked anew for every request and order: a gate that was taken out of service, or given another certificate, is served no more.
    /// It is alone at its connection, and none of its secrets for UDP counts there, nor an exception from Message-Authenticator.
    async fn gate(&self) -> Result<Candidates, Unanswered> {
        let found = self.connection.hall.centre.nas_by_certificate(&self.names).await;
        let found = found.map_err(|error| self.of_this_gate(failed(error)))?;
        let nas = found.filter(|nas| nas.id == self.nas).ok_or(Unanswered {
            nas: None,
            reason: DropReason::UnknownSource,
        })?;
        let gate = NasEntry {
            secret: Zeroizing::new(RADSEC_SECRET.to_vec()),
            proof: NasProof::default(),
            ..NasEntry::clone(&nas)
        };
        Ok(gate.into())
    }
}
