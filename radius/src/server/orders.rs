//! The reconciler of sessions: whatever the centre wants ended or changed, until the gate has obeyed.
//!
//! It takes no input but the order book: a restart, a timer and a fresh order go the same way. When an order is due again after
//! silence is the book's business.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kavadam_access::api::{Destination, NasEntry, Order, OrderAnswer};
use kavadam_access::{Access, AccessError};
use kavadam_domain::{NasId, SessionId, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Counts;
use crate::clock;
use crate::dynamic::{DynamicClient, DynamicReply};
use crate::profile::{Profile, Profiles};
use crate::wire::{Code, Draft, ErrorCause, Secret};

/// Looked at again after so long even if nobody called.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// For a name to be resolved.
const RESOLVING: Duration = Duration::from_secs(5);
/// Orders under way at once.
const CONCURRENCY: usize = 1024;
/// Of one gate: one that stays silent must not take the places of the others.
const CONCURRENCY_PER_GATE: usize = 16;
/// Of all gates together that were silent last, each of which is asked one thing at a time until it answers.
const CONCURRENCY_OF_SILENT: usize = CONCURRENCY / 2;

/// Orders decided, and answers written, at once: each is a commit of its own, and on SQLite what gates ask waits for the same writer, behind
/// them.
const WRITING: usize = 8;

/// What gates are yet to obey.
pub trait OrderBook: Send + Sync + 'static {
    /// What can go wrong.
    type Error: std::error::Error + Send;

    /// Resolves when there is a new order.
    fn orders_changed(&self) -> impl Future<Output = ()> + Send;

    /// Sessions whose orders are due.
    fn due_orders(&self, now: Timestamp) -> impl Future<Output = Result<Vec<(SessionId, NasId)>, Self::Error>> + Send;

    /// What to send for one of them; `None` if nothing is due any more. Asked once for each sending.
    fn decide_order(
        &self,
        session: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Order>, Self::Error>> + Send;

    /// What a gate answered: the order is settled, or due again later.
    fn order_answered(
        &self,
        order: &Order,
        answer: OrderAnswer,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The gate of that number, if it is in service.
    fn nas_by_id(&self, nas: NasId) -> impl Future<Output = Result<Option<NasEntry>, Self::Error>> + Send;

    /// The gate that an order is for; `None` if it is not to be reached there any more.
    fn nas_of_order(&self, order: &Order) -> impl Future<Output = Result<Option<NasEntry>, Self::Error>> + Send;
}

impl OrderBook for Access {
    type Error = AccessError;

    async fn orders_changed(&self) {
        Self::orders_changed(self).await;
    }

    async fn due_orders(&self, now: Timestamp) -> Result<Vec<(SessionId, NasId)>, AccessError> {
        Self::due_orders(self, now).await
    }

    async fn decide_order(&self, session: SessionId, now: Timestamp) -> Result<Option<Order>, AccessError> {
        Self::decide_order(self, session, now).await
    }

    async fn order_answered(&self, order: &Order, answer: OrderAnswer, now: Timestamp) -> Result<(), AccessError> {
        Self::order_answered(self, order, answer, now).await.map(drop)
    }

    async fn nas_by_id(&self, nas: NasId) -> Result<Option<NasEntry>, AccessError> {
        Self::nas_by_id(self, nas).await
    }

    async fn nas_of_order(&self, order: &Order) -> Result<Option<NasEntry>, AccessError> {
        Self::nas_of_order(self, order).await
    }
}

/// Carries out orders until cancelled, each in the words of its gate's vendor.
pub async fn run_orders<B: OrderBook>(
    book: B,
    client: DynamicClient,
    profiles: Arc<Profiles>,
    counts: Arc<Counts>,
    cancel: CancellationToken,
) {
    let hands = Hands {
        book,
        client,
        profiles,
        counts,
        writing: Semaphore::new(WRITING),
    };
    let mut reconciler = Reconciler {
        hands: Arc::new(hands),
        tasks: JoinSet::new(),
        under_way: HashMap::new(),
        silent: HashSet::new(),
    };
    let work = async {
        loop {
            if let Err(error) = reconciler.look().await {
                tracing::error!(%error, "cannot read the orders to gates");
            }
            _ = timeout(LOOK_AGAIN, reconciler.hands.book.orders_changed()).await;
        }
    };
    cancel.run_until_cancelled(work).await;
}

struct Reconciler<B> {
    hands: Arc<Hands<B>>,
    tasks: JoinSet<Option<Told>>,
    /// One order of a session at a time, and whose gate that is.
    under_way: HashMap<SessionId, (NasId, AbortHandle)>,
    /// The gates that did not answer when they were last asked.
    silent: HashSet<NasId>,
}

/// What became of asking a gate.
struct Told {
    nas: NasId,
    /// Its record stands for one gate; of a network one may be silent, and the others are not.
    is_one: bool,
    answer: OrderAnswer,
}

impl<B: OrderBook> Reconciler<B> {
    async fn look(&mut self) -> Result<(), B::Error> {
        while let Some(done) = self.tasks.try_join_next() {
            if let Ok(Some(told)) = done {
                self.note(&told);
            }
        }
        self.under_way.retain(|_, (_, task)| !task.is_finished());
        let mut busy: HashMap<NasId, usize> = HashMap::new();
        for (nas, _) in self.under_way.values() {
            *busy.entry(*nas).or_default() += 1;
        }
        let to_silent = busy.iter().filter(|(nas, _)| self.silent.contains(nas));
        let mut to_silent: usize = to_silent.map(|(_, count)| count).sum();
        for (session, nas) in self.hands.book.due_orders(clock::now()).await? {
            if self.under_way.len() >= CONCURRENCY {
                break;
            }
            let is_silent = self.silent.contains(&nas);
            let busy = busy.entry(nas).or_default();
            let most = if is_silent { 1 } else { CONCURRENCY_PER_GATE };
            if *busy >= most || is_silent && to_silent >= CONCURRENCY_OF_SILENT {
                continue;
            }
            if let Entry::Vacant(place) = self.under_way.entry(session) {
                let hands = Arc::clone(&self.hands);
                let task = self.tasks.spawn(async move { hands.carry_out(session).await });
                place.insert((nas, task));
                *busy += 1;
                to_silent += usize::from(is_silent);
            }
        }
        Ok(())
    }

    fn note(&mut self, told: &Told) {
        match told.answer {
            OrderAnswer::Silence if !told.is_one => {}
            OrderAnswer::Silence => _ = self.silent.insert(told.nas),
            _ => _ = self.silent.remove(&told.nas),
        }
    }
}

struct Hands<B> {
    book: B,
    client: DynamicClient,
    profiles: Arc<Profiles>,
    counts: Arc<Counts>,
    writing: Semaphore,
}

impl<B: OrderBook> Hands<B> {
    /// `None` if nothing was asked, or nobody knows of what became of it.
    async fn carry_out(&self, session: SessionId) -> Option<Told> {
        let told = self.try_carry_out(session).await;
        told.unwrap_or_else(|error| {
            tracing::error!(%error, session.id = %session, "cannot carry out an order");
            None
        })
    }

    async fn try_carry_out(&self, session: SessionId) -> Result<Option<Told>, B::Error> {
        let turn = self.writing.acquire().await;
        let decided = self.book.decide_order(session, clock::now()).await?;
        drop(turn);
        let Some(order) = decided else {
            return Ok(None);
        };
        let (mut answer, mut is_one) = (self.ask_down_its_link(&order).await?, true);
        if answer == OrderAnswer::Silence
            // Otherwise the gate was taken out of service, or another stands there now, which must not hear of this one's sessions.
            && let Some(nas) = self.book.nas_of_order(&order).await?
        {
            is_one = nas.source.prefix_len() == nas.source.max_prefix_len();
            answer = self.ask_with_each_secret(&order, &nas).await;
        }
        tracing::info!(session.id = %order.session, nas.id = %order.nas, ?answer, "order to a gate");
        let turn = self.writing.acquire().await;
        self.book.order_answered(&order, answer, clock::now()).await?;
        drop(turn);
        let nas = order.nas;
        Ok(Some(Told { nas, is_one, answer }))
    }

    /// The gate at the other end of a connection is proven, wherever it comes from.
    async fn ask_down_its_link(&self, order: &Order) -> Result<OrderAnswer, B::Error> {
        if !self.client.has_link(order.nas) {
            return Ok(OrderAnswer::Silence);
        }
        match self.book.nas_by_id(order.nas).await? {
            Some(nas) => Ok(self.ask(order, &nas, Road::Link).await),
            None => Ok(OrderAnswer::Silence),
        }
    }
}

/// How a gate is reached.
#[derive(Clone, Copy)]
enum Road<'a> {
    /// Down the connection that it keeps.
    Link,
    /// At its port, with this secret.
    Port(SocketAddr, &'a Secret),
}

impl<B> Hands<B> {
    /// At one port: a gate that has several is asked at the next when the order is due again.
    ///
    /// A gate does not answer what is signed with a secret that it does not have: while its secret is being changed, the one that its
    /// requests were last signed with is tried first, then the other.
    async fn ask_with_each_secret(&self, order: &Order, nas: &NasEntry) -> OrderAnswer {
        let Some(to) = resolve(&order.to).await else {
            return OrderAnswer::Silence;
        };
        let gate = self.counts.gate(nas.id);
        let ports = self.profiles.get(&nas.profile).ports_of(to.port());
        let at = SocketAddr::new(to.ip(), gate.habits().port(to.ip(), &ports));
        let mut answer = OrderAnswer::Silence;
        for (_, secret) in nas.secrets(clock::now()) {
            answer = self.ask(order, nas, Road::Port(at, &Secret::new(secret))).await;
            if answer != OrderAnswer::Silence {
                break;
            }
        }
        let is_silent = answer == OrderAnswer::Silence;
        gate.habits().asked(to.ip(), &ports, at.port(), is_silent);
        answer
    }

    /// Asks the gate by every name that the session may have there, in the vendor's order: it may know one and not another, or want fewer.
    async fn ask(&self, order: &Order, nas: &NasEntry, road: Road<'_>) -> OrderAnswer {
        let profile = self.profiles.get(&nas.profile);
        // Of a session of which too little is known to name it.
        let mut answer = OrderAnswer::Refused(ErrorCause::MISSING_ATTRIBUTE.0);
        let heard = self.counts.gate(nas.id).habits().spelling();
        for way in profile.ways(heard.filter(|_| order.mac.is_some())) {
            let Some((code, draft)) = profile.order(order, nas, way, clock::now()) else {
                continue;
            };
            let reply = self.send(nas.id, road, code, draft).await;
            match answer_of(reply, profile) {
                OrderAnswer::SessionGone => answer = OrderAnswer::SessionGone,
                // That it will not do by this name says nothing new.
                OrderAnswer::Refused(_) if answer == OrderAnswer::SessionGone => {}
                OrderAnswer::Refused(cause) if depends_on_attributes(cause) => answer = OrderAnswer::Refused(cause),
                told => return told,
            }
        }
        answer
    }

    async fn send(&self, nas: NasId, road: Road<'_>, code: Code, draft: Draft) -> DynamicReply {
        let gate = self.counts.gate(nas);
        gate.add_order("sent");
        let reply = match road {
            Road::Link => self.client.send_down_a_link(nas, code, draft).await,
            Road::Port(to, secret) => self.client.send_draft(to, secret, code, draft).await,
        };
        match reply {
            DynamicReply::Ack => gate.add_order("ack"),
            DynamicReply::Nak(cause) => gate.add_order(&format!("nak-{}", cause.map_or(0, |cause| cause.0))),
            DynamicReply::NoAnswer => gate.add_order("silence"),
        }
        reply
    }
}

/// Whether a gate that is asked with other attributes may do it.
const fn depends_on_attributes(cause: u32) -> bool {
    matches!(cause, 0 | 401 | 402 | 404 | 407)
}

/// Where that is now.
async fn resolve(to: &Destination) -> Option<SocketAddr> {
    let (host, port) = match to {
        Destination::Seen(address) => return Some(*address),
        Destination::Given(host, port) => (host, *port),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port));
    }
    match timeout(RESOLVING, tokio::net::lookup_host((host.as_str(), port))).await {
        Ok(Ok(mut found)) => return found.next(),
        Ok(Err(error)) => tracing::warn!(%error, host, "cannot find where a gate takes orders"),
        Err(_) => tracing::warn!(host, "DNS does not say where a gate takes orders"),
    }
    None
}

fn answer_of(reply: DynamicReply, profile: &Profile) -> OrderAnswer {
    match reply {
        DynamicReply::Ack => OrderAnswer::Done,
        DynamicReply::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND)) => OrderAnswer::SessionGone,
        DynamicReply::Nak(Some(ErrorCause(cause))) => OrderAnswer::Refused(cause),
        DynamicReply::Nak(None) if profile.is_bare_nak_gone() => OrderAnswer::SessionGone,
        DynamicReply::Nak(None) => OrderAnswer::Refused(0),
        DynamicReply::NoAnswer => OrderAnswer::Silence,
    }
}

#[cfg(test)]
mod tests;
