//! Accounting: reports that may be lost, doubled, late or out of order become octets charged once each.

use std::time::Duration;

use kavadam_domain::accounting::{FreeOctets, Reading, is_plausible};
use kavadam_domain::gate::OWN_PROFILE;
use kavadam_domain::session::{SessionState, terminate_cause};
use kavadam_domain::{EntitlementId, PortNews, SessionId, Timestamp};
use kavadam_store::{NasRow, OrderKind, SessionRow, Tx, VendorRow};

use crate::ahead::{is_ahead, set_right, set_right_for};
use crate::api::{Accounted, AccountingKind, AccountingReport};
use crate::batch::{Answer, Question};
use crate::began::Began;
use crate::ending::{end_namesake, end_session, presume_ended_by, reopen};
use crate::find::{Found, Reference, Spoken, find, follow_on};
use crate::namesake::{is_bare_same, is_of_another_gate};
use crate::orders::{follow, hasten};
use crate::unknown::Unowned;
use crate::{Access, AccessError};

/// A gate that renews has asked by then, which settles the order to it.
const RENEWS_WITHIN: Duration = Duration::from_secs(10);
/// A session that ended with its period is reported within this time.
const LAST_WORDS: Duration = Duration::from_mins(2);

impl Access {
    /// Takes an accounting report in. When this returns, it is committed and may be acknowledged.
    ///
    /// # Errors
    /// The database failed: the gate is to be left without an answer, so that it reports again.
    pub async fn account(&self, report: AccountingReport, now: Timestamp) -> Result<Accounted, AccessError> {
        match self.answer(vec![Question::Account(report)], now).await.pop() {
            Some(Ok(Answer::Accounted(accounted))) => Ok(accounted),
            Some(Err(error)) => Err(error),
            Some(Ok(Answer::Decision(_))) | None => Err(AccessError::Lost),
        }
    }

    /// Takes a report as it was [received](received), and tells whether gates are to be asked for something; the caller commits.
    pub(crate) async fn take_report(
        &self,
        tx: &mut Tx,
        report: &AccountingReport,
        unowned: &mut Unowned,
        now: Timestamp,
    ) -> Result<(Accounted, bool), AccessError> {
        let nas = tx.nas(report.nas).await?;
        let is_vendors = nas.as_deref().is_some_and(NasRow::is_vendors);
        let profile = nas.as_ref().map_or(OWN_PROFILE, |nas| &nas.profile);
        let free = report.free.filter(|_| !is_vendors);
        match report.kind {
            AccountingKind::On | AccountingKind::Off => {
                Ok((Box::pin(end_all(tx, report, is_vendors, now)).await?, false))
            }
            AccountingKind::Other(_) => {
                self.keep_unknown(tx, report, "", unowned, now).await?;
                Ok((Accounted::Unknown, false))
            }
            AccountingKind::Start | AccountingKind::Interim | AccountingKind::Stop(_) => {
                match find(tx, Spoken::by(report, now)).await? {
                    Found::Session(found) => {
                        tx.hold(found.subscriber).await?;
                        // By the first report that arrives, Start or not.
                        if is_vendors && !found.is_begun {
                            note_begin(tx, report, &found, now).await?;
                        }
                        charge(self, tx, (report, free, is_vendors), found.id, unowned, now).await
                    }
                    Found::Renamed(found) => {
                        tx.hold(found.subscriber).await?;
                        let abilities = self.settings().abilities_of(profile);
                        let follower = Box::pin(follow_on(tx, found.id, report, abilities, now)).await?;
                        charge(self, tx, (report, free, is_vendors), follower, unowned, now).await
                    }
                    Found::Nothing => {
                        self.keep_unknown(tx, report, "", unowned, now).await?;
                        Ok((Accounted::Unknown, false))
                    }
                }
            }
        }
    }
}

/// Under the subscriber's lock.
async fn charge(
    access: &Access,
    tx: &mut Tx,
    (report, free, is_vendors): (&AccountingReport, Option<FreeOctets>, bool),
    id: SessionId,
    unowned: &mut Unowned,
    now: Timestamp,
) -> Result<(Accounted, bool), AccessError> {
    let mut session = tx.session(id).await?.ok_or(AccessError::Inconsistent("session"))?;
    set_right_for(&mut session, report.at, now);
    // A device that has gone to another gate, which gave the same number, is there; the one before ends what it had.
    let is_elsewhere = matches!(report.kind, AccountingKind::Stop(_)) && is_of_another_gate(&session, report);
    if !is_elsewhere {
        take_name(tx, &mut session, report, now).await?;
    }
    // A copy of what was heard before is no sign of life.
    let is_news = session.reported_at.is_none_or(|last| report.at > last);
    // On the wire times are whole seconds, in which an address may be lost and got back.
    if session.reported_at.is_none_or(|last| report.at >= last) {
        note_ports(tx, report, id).await?;
    }
    let is_repeated = is_news && is_vendors && session.started_at.is_some() && report.kind == AccountingKind::Interim;
    let interval = is_repeated.then(|| now.since(session.heard_at));
    let read = read_meters(&mut session, report, now);
    if read.is_none() {
        tracing::warn!(session.id = %session.id, nas.id = %report.nas, "a gate reports more octets than a line carries: not charged");
        access.keep_unknown(tx, report, "implausible ", unowned, now).await?;
    } else if let Some(free) = free {
        note_free(tx, free, &session, now).await?;
    }
    let octets = read.unwrap_or(0);
    if octets > 0 {
        // A gate's clock may be behind; nothing flowed before the grant or in its first instant.
        let at = report.at.max(session.granted_at + Duration::from_micros(1));
        let period = period_of(tx, &session, at).await?;
        tx.charge(&session, period, octets).await?;
    }
    let mut has_orders = false;
    if let (AccountingKind::Stop(cause), true) = (report.kind, is_elsewhere && session.state == SessionState::Open) {
        presume_ended_by(tx, &mut session, cause, report.at).await?;
    } else if let AccountingKind::Stop(cause) = report.kind {
        end_session(tx, &mut session, cause, report.at).await?;
    } else {
        let is_sign_of_life = is_news && !is_of_before_restart(&session, report);
        let is_reopened = is_sign_of_life && reopen(tx, &mut session, report.at, now).await?;
        session.state = session.state.after_report();
        if let Some(interval) = interval.filter(|_| read.is_some() && session.state == SessionState::Open) {
            access.0.patience.note(report.nas, interval, now);
        }
        let due_at = if is_reopened {
            // Whatever was decided about its person meanwhile passed it by.
            Some(now)
        } else if octets > 0 && needs_new_limits(tx, &session).await? {
            Some(if session.is_renewable { now + RENEWS_WITHIN } else { now })
        } else {
            None
        };
        if let Some(due_at) = due_at {
            session.order(OrderKind::Change, due_at);
            has_orders = true;
        }
        has_orders |= is_news && follow(&mut session, report.from, now);
        has_orders |= hasten(&mut session, now);
        tx.save_session(&session).await?;
    }
    Ok((read.map_or(Accounted::Implausible, Accounted::Charged), has_orders))
}

/// A session not yet begun goes by the name its gate reports it with, even if another went by it before; one that goes on, likewise where its
/// gate calls itself otherwise than before.
async fn take_name(
    tx: &mut Tx,
    session: &mut SessionRow,
    report: &AccountingReport,
    now: Timestamp,
) -> Result<(), AccessError> {
    let name = &report.acct_session_id;
    let known = session.acct_session_id.as_deref();
    let is_given_anew = match session.state {
        SessionState::Granted => true,
        SessionState::Open => known.is_none() || is_bare_same(known, Some(name)),
        // One taken for unused may have begun all the same.
        SessionState::Ended => known.is_none(),
    };
    if is_given_anew && !name.is_empty() && known != Some(name) {
        if session.state != SessionState::Ended || session.is_presumed_ended {
            end_namesake(tx, report.nas, name, Some(session.id), now).await?;
        }
        session.acct_session_id = Some(name.clone());
    }
    Ok(())
}

/// A vendor's gate need not take over the User-Name of the grant (RFC 2865 §5.1), and takes orders by the one that it reports. What it asked for
/// without a name has begun, unless this began before: it has asked again since.
async fn note_begin(
    tx: &mut Tx,
    report: &AccountingReport,
    found: &Reference,
    now: Timestamp,
) -> Result<(), AccessError> {
    let name = report.user_name.as_ref().filter(|name| !name.is_empty());
    if name.is_none() && found.is_named {
        return Ok(());
    }
    let known = tx.session_vendor(found.id).await?;
    let mut row = known.clone().unwrap_or(VendorRow::of(found.id));
    if let Some(name) = name {
        row.user_name = Some(name.clone());
    }
    let began = Began::of(report, now);
    row.asked_at = row.asked_at.filter(|at| began.is_before(*at));
    if known.as_ref() != Some(&row) {
        tx.save_session_vendor(&row).await?;
    }
    Ok(())
}

/// Asked for when somebody wants to know whose connection it was. A gate may tell with each report; it is written down when it is news.
async fn note_ports(tx: &mut Tx, report: &AccountingReport, id: SessionId) -> Result<(), AccessError> {
    let Some(news) = report.ports else {
        return Ok(());
    };
    let now = match news {
        PortNews::Held(ports) => Some(ports),
        PortNews::GivenBack(_) => None,
    };
    let mut row = tx.session_vendor(id).await?.unwrap_or(VendorRow::of(id));
    if row.ports() == now {
        return Ok(());
    }
    row.set_ports(now);
    tx.save_session_vendor(&row).await?;
    Ok(tx.keep_ports(id, now, report.at).await?)
}

/// For the record alone: nobody is charged by it, and no quota. Cumulative, so that in whatever order reports arrive the largest is the truth.
async fn note_free(tx: &mut Tx, free: FreeOctets, session: &SessionRow, now: Timestamp) -> Result<(), AccessError> {
    if !is_plausible(free.up.saturating_add(free.down), now.since(session.granted_at)) {
        tracing::debug!(session.id = %session.id, "a gate reports more free octets than a line carries: not kept");
        return Ok(());
    }
    let mut row = tx
        .session_vendor(session.id)
        .await?
        .unwrap_or(VendorRow::of(session.id));
    let known = row.free();
    let free = free.max_with(known.unwrap_or_default());
    if known == Some(free) {
        return Ok(());
    }
    row.set_free(Some(free));
    Ok(tx.save_session_vendor(&row).await?)
}

/// Moves the meters on; returns the octets that are new. `None` if no line carries so many: the meters stay, but the session was heard of,
/// and the time until then carries nothing that is told later, or what is repeated long enough would be believed at last.
fn read_meters(session: &mut SessionRow, report: &AccountingReport, now: Timestamp) -> Option<u64> {
    let counters = &report.counters;
    let before = session.meter();
    let reading = Reading {
        up_octets: counters.up_octets,
        down_octets: counters.down_octets,
        session_secs: counters.session_secs,
        has_gigawords: counters.has_gigawords,
    };
    let after = before.after(reading, report.at);
    let octets = after.total_octets().saturating_sub(before.total_octets());
    let by_the_gate = report.at.since(session.reported_at.unwrap_or(session.granted_at));
    let by_the_clock = now.since(session.heard_at);
    session.heard_at = session.heard_at.max(now);
    if !is_plausible(octets, by_the_gate.max(by_the_clock)) {
        session.reported_at = session.reported_at.max(Some(report.at));
        return None;
    }
    session.set_meter(&after);
    session.up_packets = session.up_packets.max(counters.up_packets);
    session.down_packets = session.down_packets.max(counters.down_packets);
    let began_at = report.at - Duration::from_secs(counters.session_secs.into());
    session.started_at = Some(
        session
            .started_at
            .unwrap_or(began_at)
            .min(began_at)
            .max(session.granted_at),
    );
    session.mac = session.mac.or(report.mac);
    session.ip = report.ip.or(session.ip);
    Some(octets)
}

/// The period to charge: the one in which the octets were counted, up to and with its last instant. A session ends with its period, so
/// what is reported just after that flowed before. Octets of a session that went on across a boundary belong to the period of the report
/// that first counts them.
async fn period_of(tx: &mut Tx, session: &SessionRow, at: Timestamp) -> Result<EntitlementId, AccessError> {
    let present = tx
        .entitlement(session.entitlement_id)
        .await?
        .ok_or(AccessError::Inconsistent("entitlement"))?;
    let is_over = present.window_end.is_some_and(|end| at > end + LAST_WORDS);
    if at > present.window_start && !is_over {
        return Ok(present.id);
    }
    let plan = tx
        .plan(present.plan_id)
        .await?
        .ok_or(AccessError::Inconsistent("plan"))?;
    let window = plan.window(at - Duration::from_micros(1))?;
    Ok(tx.ensure_entitlement(present.subscriber_id, plan.id, window).await?.id)
}

/// A gate that cannot ask again is told: more, or the end, when little is left of what it was given; one that should have asked, when
/// nothing is.
async fn needs_new_limits(tx: &mut Tx, session: &SessionRow) -> Result<bool, AccessError> {
    let (SessionState::Open, false, Some(lease)) = (session.state, session.is_throttled, session.lease_id) else {
        return Ok(false);
    };
    let lease = tx.lease(lease).await?.ok_or(AccessError::Inconsistent("lease"))?;
    let left = lease.lease().promised_octets();
    Ok(left == 0 || !session.is_renewable && left < lease.granted_octets / 4)
}

/// Whether a report was made before its gate said, of itself or of another that goes by its record, that all is over. Both by the gate's time.
fn is_of_before_restart(session: &SessionRow, report: &AccountingReport) -> bool {
    session.terminate_cause == Some(terminate_cause::NAS_REBOOT) && session.ended_at.is_some_and(|at| report.at <= at)
}

/// The gate started or stops: every session it had by then is over, with the octets last reported. A vendor's record may stand for many access
/// points, of which one started: whoever is reported after that was at another.
async fn end_all(
    tx: &mut Tx,
    report: &AccountingReport,
    is_vendors: bool,
    now: Timestamp,
) -> Result<Accounted, AccessError> {
    let mut live = tx.live_sessions_at(report.nas).await?;
    // What is granted since was granted by the gate's new life, unless a clock that was ahead says so.
    live.retain(|session| session.granted_at <= report.at || is_ahead(session.granted_at, now));
    live.sort_unstable_by_key(|session| (session.subscriber_id, session.id));
    tx.hold_all(live.iter().map(|session| session.subscriber_id).collect())
        .await?;
    let mut closed = 0;
    for session in live {
        if let Some(mut session) = tx
            .session(session.id)
            .await?
            .filter(|session| session.state != SessionState::Ended)
        {
            let cause = terminate_cause::NAS_REBOOT;
            set_right(&mut session, now);
            if is_vendors {
                presume_ended_by(tx, &mut session, cause, report.at).await?;
            } else {
                end_session(tx, &mut session, cause, report.at).await?;
            }
            closed += 1;
        }
    }
    Ok(Accounted::Closed(closed))
}

/// A report with what can be believed and kept alone.
pub(crate) fn received(report: AccountingReport, now: Timestamp) -> AccountingReport {
    AccountingReport {
        // A gate whose clock runs ahead must not make later reports look old.
        at: report.at.min(now),
        acct_session_id: without_nul(report.acct_session_id),
        user_name: report.user_name.map(without_nul),
        ..report
    }
}

/// Some gates end texts with NUL, as C does; PostgreSQL keeps none.
pub(crate) fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "")
    } else {
        text
    }
}
