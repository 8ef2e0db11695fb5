//! The reconciler of sessions: whatever the centre wants ended or changed, until the gate has obeyed.
//!
//! It takes no input but the order book: a restart, a timer and a fresh order go the same way. When an order is due again after
//! silence is the book's business.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kavadam_access::api::{NasEntry, Order, OrderAction, OrderAnswer};
use kavadam_access::{Access, AccessError};
use kavadam_domain::{NasId, SessionId, Timestamp};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Counts;
use crate::clock;
use crate::dynamic::{DynamicAction, DynamicClient, DynamicReply, DynamicRequest, Target};
use crate::wire::{ErrorCause, Secret};

/// Looked at again after so long even if nobody called.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Orders under way at once.
const CONCURRENCY: usize = 1024;
/// Of one gate: one that stays silent must not take the places of the others.
const CONCURRENCY_PER_GATE: usize = 16;

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

    /// The gate at an address, for its secret.
    fn nas_by_source(&self, source: IpAddr) -> impl Future<Output = Result<Option<NasEntry>, Self::Error>> + Send;
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

    async fn nas_by_source(&self, source: IpAddr) -> Result<Option<NasEntry>, AccessError> {
        Self::nas_by_source(self, source).await
    }
}

/// Carries out orders until cancelled.
pub async fn run_orders<B: OrderBook>(book: B, client: DynamicClient, counts: Arc<Counts>, cancel: CancellationToken) {
    let mut reconciler = Reconciler {
        hands: Arc::new(Hands { book, client, counts }),
        tasks: JoinSet::new(),
        under_way: HashMap::new(),
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
    tasks: JoinSet<()>,
    /// One order of a session at a time, and whose gate that is.
    under_way: HashMap<SessionId, (NasId, AbortHandle)>,
}

impl<B: OrderBook> Reconciler<B> {
    async fn look(&mut self) -> Result<(), B::Error> {
        while self.tasks.try_join_next().is_some() {}
        self.under_way.retain(|_, (_, task)| !task.is_finished());
        let mut busy: HashMap<NasId, usize> = HashMap::new();
        for (nas, _) in self.under_way.values() {
            *busy.entry(*nas).or_default() += 1;
        }
        for (session, nas) in self.hands.book.due_orders(clock::now()).await? {
            if self.under_way.len() >= CONCURRENCY {
                break;
            }
            let busy = busy.entry(nas).or_default();
            if *busy >= CONCURRENCY_PER_GATE {
                continue;
            }
            if let Entry::Vacant(place) = self.under_way.entry(session) {
                let hands = Arc::clone(&self.hands);
                let task = self.tasks.spawn(async move { hands.carry_out(session).await });
                place.insert((nas, task));
                *busy += 1;
            }
        }
        Ok(())
    }
}

struct Hands<B> {
    book: B,
    client: DynamicClient,
    counts: Arc<Counts>,
}

impl<B: OrderBook> Hands<B> {
    async fn carry_out(&self, session: SessionId) {
        if let Err(error) = self.try_carry_out(session).await {
            tracing::error!(%error, session.id = %session, "cannot carry out an order");
        }
    }

    async fn try_carry_out(&self, session: SessionId) -> Result<(), B::Error> {
        let Some(order) = self.book.decide_order(session, clock::now()).await? else {
            return Ok(());
        };
        let found = self.book.nas_by_source(order.to.ip()).await?;
        let answer = match found.filter(|nas| nas.id == order.nas) {
            Some(nas) => self.ask(&order, &Secret::new(nas.secret.as_slice())).await,
            // The gate was taken out of service, or another stands there now, which must not hear of this one's sessions.
            None => OrderAnswer::Silence,
        };
        tracing::info!(session.id = %order.session, nas.id = %order.nas, ?answer, "order to a gate");
        self.book.order_answered(&order, answer, clock::now()).await
    }
}

impl<B> Hands<B> {
    /// A gate need not take over the User-Name of the grant (RFC 2865 §5.1), and then knows no session of that name: it is asked
    /// once more without.
    async fn ask(&self, order: &Order, secret: &Secret) -> OrderAnswer {
        let mut request = request_of(order);
        let answer = self.send(order, secret, &request).await;
        if answer != OrderAnswer::SessionGone {
            return answer;
        }
        request.target.user_name = None;
        match self.send(order, secret, &request).await {
            // That it will not do without the name says nothing new.
            OrderAnswer::Refused(_) => OrderAnswer::SessionGone,
            answer => answer,
        }
    }

    async fn send(&self, order: &Order, secret: &Secret, request: &DynamicRequest) -> OrderAnswer {
        let gate = self.counts.gate(order.nas);
        gate.add_order("sent");
        let reply = self.client.send(order.to, secret, request, clock::now()).await;
        match reply {
            DynamicReply::Ack => gate.add_order("ack"),
            DynamicReply::Nak(cause) => gate.add_order(&format!("nak-{}", cause.map_or(0, |cause| cause.0))),
            DynamicReply::NoAnswer => gate.add_order("silence"),
        }
        answer_of(reply)
    }
}

/// CoovaChilli insists on User-Name and Acct-Session-Id together. Class is left out: some gates refuse attributes that they do
/// not need.
fn request_of(order: &Order) -> DynamicRequest {
    DynamicRequest {
        target: Target {
            acct_session_id: Some(order.acct_session_id.clone()),
            user_name: Some(order.user_name.clone()),
            mac: order.mac,
            ..Target::default()
        },
        action: match order.action {
            OrderAction::End => DynamicAction::Disconnect,
            OrderAction::Change(limits) => DynamicAction::Change(limits.into()),
        },
    }
}

const fn answer_of(reply: DynamicReply) -> OrderAnswer {
    match reply {
        DynamicReply::Ack => OrderAnswer::Done,
        DynamicReply::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND)) => OrderAnswer::SessionGone,
        DynamicReply::Nak(Some(ErrorCause(cause))) => OrderAnswer::Refused(cause),
        DynamicReply::Nak(None) => OrderAnswer::Refused(0),
        DynamicReply::NoAnswer => OrderAnswer::Silence,
    }
}

#[cfg(test)]
mod tests;
