//! Upkeep: what nobody will come back for.

use std::time::Duration;

use kavadam_domain::challenge::CODE_LIFE;
use kavadam_domain::session::SessionState;
use kavadam_domain::time::CLOCKS_WITHIN;
use kavadam_domain::{SubscriberId, Timestamp};
use kavadam_store::{Heard, SessionRow};

use crate::ahead::{is_ahead, set_right};
use crate::ending::presume_ended;
use crate::{Access, AccessError};

/// A grant without a Start for so long was never used.
const GRANTED_PATIENCE: Duration = Duration::from_mins(2);
/// Challenges, tickets and attempts are kept so long after they expired.
const KEPT: Duration = Duration::from_hours(24);
/// Live sessions read at once: few enough that no reader holds up the database for long.
const PORTION: u32 = 500;
/// Live sessions looked at in one sweep, so that a round over 300,000 takes eight.
const LOOKED_AT: u32 = 40_000;
/// Sessions changed in one sweep.
const MOST: u32 = 1_000;
/// Sessions that cannot be ended, for somebody holds them, in one sweep: each was waited for five seconds.
const MOST_HELD: u32 = 4;
/// Rows of each kind deleted in one transaction: after hours without a sweep very many have expired, and nobody is answered meanwhile.
const DELETED_AT_ONCE: u32 = 5_000;
/// Such transactions in one sweep.
const MOST_DELETIONS: u32 = 100;

/// How far a round over the live sessions has come: each sweep goes on after the last, and then all come again.
#[derive(Debug, Default)]
pub struct Round {
    from: Option<SubscriberId>,
}

/// Since when the gates were heard, and what time it is.
#[derive(Clone, Copy)]
struct Span {
    up_since: Timestamp,
    now: Timestamp,
}

impl Span {
    /// What was last heard before is silent, where nothing may be heard for so long. `None`: not to be told yet.
    fn silent_before(self, patience: Duration) -> Option<Timestamp> {
        (self.now.since(self.up_since) >= patience).then(|| self.now - patience)
    }
}

impl Access {
    /// Takes sessions for ended that were never begun or fell silent, with the octets known, each in a transaction of its own, and forgets
    /// what expired, in portions. What a clock that was ahead has noted of sessions counts from now. A late report still adds its octets, and reopens what is alive after all. Silence counts from `up_since` at the
    /// earliest: the service hears the gates without a break since then. Of very many sessions some are looked at, from where `round` has come
    /// to. One who cannot be ended keeps no other from it. Tells how many were ended.
    ///
    /// # Errors
    /// The service is out of order; call again.
    pub async fn sweep(&self, round: &mut Round, up_since: Timestamp, now: Timestamp) -> Result<u32, AccessError> {
        let span = Span { up_since, now };
        self.0.patience.heard_since(up_since);
        let mut ended = Ok(0);
        if span.silent_before(GRANTED_PATIENCE).is_some() {
            ended = self.end_some(round, span).await;
        }
        if let Err(error) = self.delete_expired(now).await {
            // Else whoever sweeps would think that nobody was looked at, and silence begins anew.
            tracing::error!(%error, "cannot delete what expired; the next sweep tries again");
        }
        if let Err(error) = self.forget_orders(now).await {
            tracing::warn!(%error, "cannot forget the orders to sessions that are long over; the next sweep tries again");
        }
        ended
    }

    async fn delete_expired(&self, now: Timestamp) -> Result<(), AccessError> {
        let (served, unknown) = (now - KEPT, now - self.settings().unknown_reports_kept);
        for _ in 0..MOST_DELETIONS {
            let mut tx = self.write().await?;
            // None waits longer than its code is good, but by a clock that was ahead.
            tx.hasten_sms(now + CODE_LIFE + CLOCKS_WITHIN, now).await?;
            let mut deleted = tx.delete_expired(served, DELETED_AT_ONCE).await?;
            self.prune_unknown(&mut tx).await?;
            deleted += tx.delete_unknown_reports(unknown, DELETED_AT_ONCE).await?;
            tx.commit().await?;
            if deleted < u64::from(DELETED_AT_ONCE) {
                break;
            }
        }
        Ok(())
    }

    /// An end that was ordered stands while its session is taken for ended, should that be heard of. Nobody hears of one that was over for so long:
    /// who looks for what is to be sent need not pass by it for ever.
    async fn forget_orders(&self, now: Timestamp) -> Result<(), AccessError> {
        let kept = self.read().await?.orders_kept(now - KEPT, MOST).await?;
        for order in kept {
            let mut tx = self.write().await?;
            tx.lock_subscriber(order.subscriber_id).await?;
            let session = tx.session(order.id).await?;
            if let Some(mut session) = session.filter(|session| session.state == SessionState::Ended) {
                session.settle_order();
                tx.save_session(&session).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    fn is_silent(&self, session: &Heard, span: Span) -> bool {
        let patience = match session.state {
            SessionState::Granted => GRANTED_PATIENCE,
            _ => self.0.patience.with(session.nas_id, span.now),
        };
        let before = span.silent_before(patience);
        before.is_some_and(|before| session.heard_at < before)
    }

    /// Looks at the next live sessions and ends those that are silent. Tells how many.
    async fn end_some(&self, round: &mut Round, span: Span) -> Result<u32, AccessError> {
        let now = span.now;
        let (mut ended, mut changed, mut held) = (0, 0, 0);
        for _ in 0..LOOKED_AT / PORTION {
            let from = round.from.unwrap_or(SubscriberId(0));
            let portion = self.read().await?.live_sessions_from(from, PORTION).await?;
            let is_ahead = |found: &Heard| is_ahead(found.heard_at, now);
            for found in portion
                .iter()
                .filter(|found| self.is_silent(found, span) || is_ahead(found))
            {
                if changed == MOST {
                    round.from = Some(found.subscriber_id);
                    return Ok(ended);
                }
                match self.upkeep(found, now).await {
                    Ok(done) => {
                        ended += u32::from(done == Upkeep::Ended);
                        changed += u32::from(done != Upkeep::Nothing);
                    }
                    Err(error) if error.is_timeout() => return Err(error),
                    Err(error) => {
                        tracing::warn!(session.id = %found.id, %error, "cannot take a silent session for ended; the next round tries again");
                        held += 1;
                    }
                }
                if held == MOST_HELD {
                    round.from = Some(SubscriberId(found.subscriber_id.0 + 1));
                    return Ok(ended);
                }
            }
            // The last subscriber may have more of them.
            round.from = portion
                .get(PORTION as usize - 1)
                .map(|last| last.subscriber_id.max(SubscriberId(from.0 + 1)));
            if round.from.is_none() {
                break;
            }
        }
        Ok(ended)
    }

    /// Ends a silent session unless something was heard of it meanwhile; of one that was heard of in time to come, that counts from now.
    async fn upkeep(&self, found: &Heard, now: Timestamp) -> Result<Upkeep, AccessError> {
        let mut tx = self.write().await?;
        tx.lock_subscriber(found.subscriber_id).await?;
        let unheard = |session: &SessionRow| session.state != SessionState::Ended && session.heard_at == found.heard_at;
        let Some(mut session) = tx.session(found.id).await?.filter(unheard) else {
            return Ok(Upkeep::Nothing);
        };
        let done = if is_ahead(session.heard_at, now) {
            set_right(&mut session, now);
            tx.save_session(&session).await?;
            Upkeep::SetRight
        } else {
            presume_ended(&mut tx, &mut session, now).await?;
            Upkeep::Ended
        };
        tx.commit().await?;
        Ok(done)
    }
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upkeep {
    Nothing,
    SetRight,
    Ended,
}
