//! What a session is at a vendor's gate: the limits it was told, and what it says in its own words. A session at our own gateway has none.

use kavadam_domain::{Limits, SessionId};

use crate::sql::{execute, row, rows};
use crate::{Result, Tx};

row! {
    /// See the module.
    pub struct VendorRow {
        /// Which session.
        pub session_id: SessionId,
        /// Told: octets, cumulative from its start.
        pub max_total_octets: Option<u64>,
        /// Told: towards the internet.
        pub up_bits_per_sec: Option<u64>,
        /// Told: towards the device.
        pub down_bits_per_sec: Option<u64>,
        /// Told: from its start to its end.
        pub session_secs: Option<u32>,
        /// Told: without a packet.
        pub idle_secs: Option<u32>,
        /// User-Name by which the gate reports it.
        pub user_name: Option<String>,
        /// The gate's own name for it, by which it takes orders.
        pub handle: Option<String>,
        /// Name of the wireless network.
        pub ssid: Option<String>,
        /// The access point.
        pub access_point: Option<String>,
    }
}

impl VendorRow {
    /// Of a session of which nothing is known yet.
    #[must_use]
    pub const fn of(session_id: SessionId) -> Self {
        Self {
            session_id,
            max_total_octets: None,
            up_bits_per_sec: None,
            down_bits_per_sec: None,
            session_secs: None,
            idle_secs: None,
            user_name: None,
            handle: None,
            ssid: None,
            access_point: None,
        }
    }

    /// The limits that its gate was told.
    #[must_use]
    pub const fn told(&self) -> Limits {
        Limits {
            max_total_octets: self.max_total_octets,
            up_bits_per_sec: self.up_bits_per_sec,
            down_bits_per_sec: self.down_bits_per_sec,
            session_secs: self.session_secs,
            idle_secs: self.idle_secs,
            interim_secs: None,
            remaining_octets: None,
        }
    }

    /// Its gate was told these.
    pub const fn set_told(&mut self, limits: &Limits) {
        self.max_total_octets = limits.max_total_octets;
        self.up_bits_per_sec = limits.up_bits_per_sec;
        self.down_bits_per_sec = limits.down_bits_per_sec;
        self.session_secs = limits.session_secs;
        self.idle_secs = limits.idle_secs;
    }
}

impl Tx {
    /// What a session is at a vendor's gate.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session_vendor(&mut self, session: SessionId) -> Result<Option<VendorRow>> {
        rows!(
            self,
            fetch_optional,
            "SELECT * FROM session_vendor WHERE session_id = $1",
            session
        )
    }

    /// Writes that down, in place of what was known.
    ///
    /// # Errors
    /// The database failed.
    pub async fn save_session_vendor(&mut self, row: &VendorRow) -> Result<()> {
        execute!(
            self,
            "INSERT INTO session_vendor (session_id, max_total_octets, up_bits_per_sec, down_bits_per_sec, session_secs, idle_secs,
                 user_name, handle, ssid, access_point)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (session_id) DO UPDATE SET max_total_octets = excluded.max_total_octets,
                 up_bits_per_sec = excluded.up_bits_per_sec, down_bits_per_sec = excluded.down_bits_per_sec,
                 session_secs = excluded.session_secs, idle_secs = excluded.idle_secs, user_name = excluded.user_name,
                 handle = excluded.handle, ssid = excluded.ssid, access_point = excluded.access_point",
            row.session_id,
            row.max_total_octets,
            row.up_bits_per_sec,
            row.down_bits_per_sec,
            row.session_secs,
            row.idle_secs,
            row.user_name,
            row.handle,
            row.ssid,
            row.access_point,
        )?;
        Ok(())
    }

    /// How many live sessions have a gate that does not do what is asked of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn troubled_sessions(&mut self) -> Result<u64> {
        let found: crate::sql::Figure = rows!(
            self,
            fetch_one,
            "SELECT count(*) AS figure FROM session
             WHERE order_action IS NOT NULL AND state <> 'ended' AND trouble IS NOT NULL"
        )?;
        Ok(found.figure)
    }
}
