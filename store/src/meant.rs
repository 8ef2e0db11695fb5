//! Finding the session that a gate means.

use kavadam_domain::session::SessionState;
use kavadam_domain::{Mac, MobileNumber, NasId, SessionId, SubscriberId};

use crate::session::session_in;
use crate::sql::{row, rows};
use crate::{Error, Result, SessionRow, Tx};

/// Sessions of one person that are over, looked at for one that a gate names: of a week, whoever comes and goes every ten minutes.
const LAST_NAMED: u32 = 1024;
/// Sessions of one person that are over, looked at for one that a gate asked for just now.
const LAST_ASKED_FOR: u32 = 16;
/// Owners of a device, of those who were at it last.
const LAST_OWNERS: u32 = 16;

row! {
    /// Somebody who may be meant.
    struct Meant {
        subscriber_id: SubscriberId,
    }
}

impl Tx {
    /// The session a gate means: the one granted with that Class, if it is this gate's; else the live one of that Acct-Session-Id, or one
    /// that ended in this transaction. [`Tx::ended_session_named`] finds the others.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session_at(
        &mut self,
        nas: NasId,
        class: Option<&[u8]>,
        acct_session_id: Option<&str>,
    ) -> Result<Option<SessionRow>> {
        if let Some(class) = class
            && let Some(found) = self.session_of_class(class).await?
            && found.nas_id == nas
        {
            return Ok(Some(found));
        }
        let Some(name) = acct_session_id else {
            return Ok(None);
        };
        if let Some(live) = self.live_session_named(nas, name).await? {
            return Ok(Some(live));
        }
        Ok(self.working.session_named(nas, name).cloned())
    }

    /// The last session of that Acct-Session-Id at a gate, of those that are over and were somebody's last. There is no index over the names
    /// of what is over: of all that a session's end writes, its entry would cost most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ended_session_named(
        &mut self,
        nas: NasId,
        name: &str,
        owner: SubscriberId,
    ) -> Result<Option<SessionRow>> {
        let found: Option<SessionRow> = rows!(
            self,
            fetch_optional,
            "SELECT * FROM
                 (SELECT * FROM session WHERE subscriber_id = $1 AND ended_at IS NOT NULL ORDER BY granted_at DESC LIMIT $4) AS s
             WHERE nas_id = $2 AND acct_session_id = $3 ORDER BY id DESC LIMIT 1",
            owner,
            nas,
            name,
            LAST_NAMED,
        )?;
        let found = found
            .map(|row| self.working.session(row.id).cloned().unwrap_or(row))
            .filter(|row| row.acct_session_id.as_deref() == Some(name));
        // One may have been named and over within this transaction.
        let is_it = |row: &&SessionRow| {
            row.nas_id == nas && row.state == SessionState::Ended && row.acct_session_id.as_deref() == Some(name)
        };
        let in_hand = self.working.sessions_of(owner).filter(is_it).cloned();
        Ok(in_hand.chain(found).max_by_key(|row| row.id))
    }

    /// Somebody's sessions at a gate: those that are not over, and the last that are.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_sessions_at(&mut self, nas: NasId, owner: SubscriberId) -> Result<Vec<SessionRow>> {
        let mut last = self.live_sessions_of(owner).await?;
        let ended: Vec<SessionRow> = rows!(
            self,
            fetch_all,
            "SELECT * FROM session WHERE subscriber_id = $1 AND ended_at IS NOT NULL ORDER BY granted_at DESC LIMIT $2",
            owner,
            LAST_ASKED_FOR,
        )?;
        // Those in hand may have ended since, or not after all.
        let in_hand = self.working.sessions_of(owner).cloned();
        last.retain(|row| self.working.session(row.id).is_none());
        last.extend(ended.into_iter().filter(|row| self.working.session(row.id).is_none()));
        last.extend(in_hand);
        last.retain(|row| row.nas_id == nas);
        Ok(last)
    }

    /// Whoever a gate may mean by a User-Name, which is a subscriber's alias or number: one, unless an alias is another's number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn subscribers_called(&mut self, user_name: &str) -> Result<Vec<SubscriberId>> {
        let number: Option<MobileNumber> = user_name.parse().ok();
        let meant: Vec<Meant> = rows!(
            self,
            fetch_all,
            "SELECT id AS subscriber_id FROM subscriber WHERE alias = $1
             UNION SELECT id AS subscriber_id FROM subscriber WHERE number = $2",
            user_name.to_owned(),
            number,
        )?;
        Ok(meant.into_iter().map(|row| row.subscriber_id).collect())
    }

    /// Those who were at a device last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn owners_of_device(&mut self, mac: Mac) -> Result<Vec<SubscriberId>> {
        let owners: Vec<Meant> = rows!(
            self,
            fetch_all,
            "SELECT subscriber_id FROM device WHERE mac = $1 ORDER BY last_seen_at DESC LIMIT $2",
            mac,
            LAST_OWNERS,
        )?;
        Ok(owners.into_iter().map(|row| row.subscriber_id).collect())
    }

    /// On SQLite, where no index does, sees to it that no live session goes by a name that another takes.
    pub(crate) async fn claim_name(&mut self, own: Option<SessionId>, nas: NasId, name: Option<&str>) -> Result<()> {
        let Some(name) = name.filter(|_| self.is_sqlite()) else {
            return Ok(());
        };
        match self.live_session_named(nas, name).await? {
            Some(other) if Some(other.id) != own => Err(Error::NameTaken),
            _ => Ok(()),
        }
    }

    async fn session_of_class(&mut self, class: &[u8]) -> Result<Option<SessionRow>> {
        let Some(id) = session_in(class) else { return Ok(None) };
        if self.is_sqlite()
            && self.working.session(id).is_none()
            && let Some(owner) = self.carried.get().owner_of_session(id)
            && !self.working.holds(owner)
        {
            self.hold_carried(owner);
        }
        Ok(self.session(id).await?.filter(|row| row.class == class))
    }

    /// The live session of that Acct-Session-Id at a gate.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_session_named(&mut self, nas: NasId, name: &str) -> Result<Option<SessionRow>> {
        if let Some(found) = self.working.live_session_named(nas, name) {
            return Ok(Some(found.clone()));
        }
        if self.is_sqlite()
            && let Some(owner) = self.carried.get().owner_of_name(nas, name)
        {
            self.hold(owner).await?;
            let found = self.working.live_session_named(nas, name);
            // One that is here goes by that name no more.
            if found.is_some() || self.working.had_name(owner, nas, name) {
                return Ok(found.cloned());
            }
        }
        if self.absent_names.contains(&(nas, name.to_owned())) || self.carried.get().lacks_name(nas, name) {
            return Ok(None);
        }
        let found: Option<SessionRow> = rows!(
            self,
            fetch_optional,
            "SELECT * FROM session WHERE nas_id = $1 AND acct_session_id = $2 AND ended_at IS NULL",
            nas,
            name,
        )?;
        // One that is here goes by that name no more.
        Ok(found.filter(|row| self.working.session(row.id).is_none()))
    }
}
