//! Tickets: what a device brings to its gate once the portal knows whose it is; and the way back from being online.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use kavadam_domain::challenge::Rate;
use kavadam_domain::session::SessionState;
use kavadam_domain::{Mac, Reason, SubscriberId, Timestamp};
use kavadam_store::{OrderKind, TicketRow, Tx};

use crate::api::{Ticket, Verified, Visit};
use crate::form::Form;
use crate::login::Limit;
use crate::{Access, AccessError};

/// A ticket's User-Name: this, then its random number.
const TICKET_PREFIX: &str = "t-";

/// The random number of a ticket's User-Name; `None` if it is not one.
#[must_use]
pub(crate) fn ticket_id(user_name: &str) -> Option<[u8; 16]> {
    let text = user_name.strip_prefix(TICKET_PREFIX)?;
    if text.len() > 32 {
        return None;
    }
    BASE32_NOPAD
        .decode(text.to_ascii_uppercase().as_bytes())
        .ok()?
        .try_into()
        .ok()
}

fn ticket_name(id: &[u8; 16]) -> String {
    format!("{TICKET_PREFIX}{}", BASE32_NOPAD.encode(id).to_ascii_lowercase())
}

/// Tickets that a device may have for no more than asking: each is a row, and a wait for the disk.
const ASKED_FOR: Rate = Rate {
    most: 20,
    within: Duration::from_mins(10),
};

impl Access {
    /// A ticket without a code, for a device that is remembered.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn reconnect(&self, visit: &Visit, now: Timestamp) -> Result<Verified, AccessError> {
        let mut tx = self.write_form().await?;
        let Some(device) = tx.remembered_device(visit.mac, now).await? else {
            return Ok(Verified::Refused(Reason::UnknownDevice));
        };
        if let Some(wait) = self.ask_for_ticket(&mut tx, visit.mac, now).await? {
            return Ok(Verified::Refused(Reason::TooMany(wait)));
        }
        if device.is_paused {
            tx.pause_device(device.subscriber_id, visit.mac, false).await?;
        }
        self.give_ticket(tx, device.subscriber_id, visit, now).await
    }

    /// Counts a ticket that a device asks for and proves nothing anew, or tells how long to wait for the next.
    pub(crate) async fn ask_for_ticket(
        &self,
        tx: &mut Tx,
        mac: Mac,
        now: Timestamp,
    ) -> Result<Option<Duration>, AccessError> {
        let limit = Limit {
            kind: "ticket",
            key: self.sealer().digest("ticket-asked", mac.to_string().as_bytes()),
            rates: vec![ASKED_FOR],
        };
        self.try_once(tx, &[limit], now).await
    }

    pub(crate) async fn give_ticket(
        &self,
        mut tx: Form,
        subscriber_id: SubscriberId,
        visit: &Visit,
        now: Timestamp,
    ) -> Result<Verified, AccessError> {
        let public_id: [u8; 16] = rand::random();
        let ticket = TicketRow {
            public_id,
            subscriber_id,
            nas_id: visit.nas,
            mac: visit.mac,
            expires_at: now + self.settings().ticket_life,
            used_at: None,
        };
        tx.add_ticket(&ticket).await?;
        tx.commit().await?;
        let password = self.sealer().ticket_password(&public_id);
        Ok(Verified::Ticket(Ticket {
            user_name: ticket_name(&public_id),
            password,
        }))
    }

    /// Ends the device's session by its owner's wish; it comes back only by its owner's wish. `false` if it had none. Asked again, it writes
    /// nothing.
    ///
    /// # Errors
    /// The service is out of order.
    pub async fn disconnect(&self, visit: &Visit, now: Timestamp) -> Result<bool, AccessError> {
        let mut tx = self.write_form().await?;
        let Some(session) = tx.last_session_of_device(visit.site, visit.mac).await? else {
            return Ok(false);
        };
        let owner = session.subscriber_id;
        tx.lock_subscriber(owner).await?;
        let device = tx.device(owner, visit.mac).await?;
        let is_to_pause = device.is_some_and(|device| !device.is_paused);
        if is_to_pause {
            tx.pause_device(owner, visit.mac, true).await?;
        }
        let session = tx.session(session.id).await?;
        let live = session.filter(|session| session.state != SessionState::Ended);
        let is_live = live.is_some();
        let to_end = live.filter(|session| session.order_action != Some(OrderKind::End));
        let is_to_end = to_end.is_some();
        if let Some(mut session) = to_end {
            session.order(OrderKind::End, now);
            tx.save_session(&session).await?;
        }
        if is_to_pause || is_to_end {
            tx.commit().await?;
        }
        if is_to_end {
            self.wake_orders();
        }
        Ok(is_live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tickets_name_leads_back_to_it_and_nothing_else_does() {
        assert_eq!(ticket_id(&ticket_name(&[7; 16])), Some([7; 16]));
        for name in [
            "",
            "t-",
            "9876543210",
            "t-????",
            "t-AAAA",
            &format!("t-{}", "a".repeat(10_000)),
        ] {
            assert_eq!(ticket_id(name), None, "{name}");
        }
    }
}
