//! What a session is at a vendor's gate: the limits it was told, and what it says in its own words. A session at our
//! own gateway has one only where it tells an access point, public ports, or what was free.

use std::net::IpAddr;

use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{Limits, PortRange, SessionId, Timestamp};

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
        /// NAS-Identifier of its request, where the gate takes orders by it.
        pub nas_identifier: Option<String>,
        /// NAS-IP-Address or NAS-IPv6-Address, likewise.
        pub nas_ip: Option<IpAddr>,
        /// Called-Station-Id, likewise.
        pub called_station_id: Option<String>,
        /// Name of the wireless network.
        pub ssid: Option<String>,
        /// The access point.
        pub access_point: Option<String>,
        /// The address by which the internet sees the device.
        pub public_ip: Option<IpAddr>,
        /// The lowest port there that is the device's alone.
        pub first_port: Option<u32>,
        /// The highest.
        pub last_port: Option<u32>,
        /// Octets from the device that were free of charge.
        pub free_up_octets: Option<u64>,
        /// To the device, likewise.
        pub free_down_octets: Option<u64>,
        /// Since when its gate asks for it without a name, as long as it reports none that this was for.
        pub asked_at: Option<Timestamp>,
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
            nas_identifier: None,
            nas_ip: None,
            called_station_id: None,
            ssid: None,
            access_point: None,
            public_ip: None,
            first_port: None,
            last_port: None,
            free_up_octets: None,
            free_down_octets: None,
            asked_at: None,
        }
    }

    /// How the internet sees the device.
    #[must_use]
    pub fn ports(&self) -> Option<PortRange> {
        ports(self.public_ip, self.first_port, self.last_port)
    }

    /// The internet sees it so from now on.
    pub fn set_ports(&mut self, ports: Option<PortRange>) {
        self.public_ip = ports.map(|ports| ports.address.into());
        self.first_port = ports.map(|ports| ports.first.into());
        self.last_port = ports.map(|ports| ports.last.into());
    }

    /// What it has moved free of charge, where its gate tells.
    #[must_use]
    pub fn free(&self) -> Option<FreeOctets> {
        free(self.free_up_octets, self.free_down_octets)
    }

    /// It has moved this free of charge, all in all.
    pub fn set_free(&mut self, free: Option<FreeOctets>) {
        self.free_up_octets = free.map(|free| free.up);
        self.free_down_octets = free.map(|free| free.down);
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
            filter: None,
            class: None,
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

/// Out of three columns.
pub(crate) fn ports(address: Option<IpAddr>, first: Option<u32>, last: Option<u32>) -> Option<PortRange> {
    let IpAddr::V4(address) = address? else { return None };
    let port = |number: Option<u32>| u16::try_from(number?).ok();
    Some(PortRange {
        address,
        first: port(first)?,
        last: port(last)?,
    })
}

/// Out of two columns.
pub(crate) fn free(up: Option<u64>, down: Option<u64>) -> Option<FreeOctets> {
    Some(FreeOctets { up: up?, down: down? })
}

impl Tx {
    /// What a session is at a vendor's gate.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session_vendor(&mut self, session: SessionId) -> Result<Option<VendorRow>> {
        if let Some(known) = self.working.vendors.get(&session) {
            return Ok(Some(known.clone()));
        }
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
        self.working.vendors.insert(row.session_id, row.clone());
        if self.working.session(row.session_id).is_some() {
            return Ok(());
        }
        self.settle().await
    }

    /// Writes down how the internet sees a session's device from this time on, and that it was otherwise until then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep_ports(&mut self, session: SessionId, ports: Option<PortRange>, at: Timestamp) -> Result<()> {
        execute!(
            self,
            "UPDATE session_ports SET until_at = $2 WHERE session_id = $1 AND until_at IS NULL",
            session,
            at,
        )?;
        let Some(PortRange { address, first, last }) = ports else {
            return Ok(());
        };
        execute!(
            self,
            "INSERT INTO session_ports (session_id, public_ip, first_port, last_port, since_at) VALUES ($1, $2, $3, $4, $5)",
            session,
            IpAddr::V4(address),
            u32::from(first),
            u32::from(last),
            at,
        )?;
        Ok(())
    }

    /// How many live sessions have a gate that does not do what is asked of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn troubled_sessions(&mut self) -> Result<u64> {
        self.settle().await?;
        let found: crate::sql::Figure = rows!(
            self,
            fetch_one,
            "SELECT count(*) AS figure FROM session
             WHERE order_action IS NOT NULL AND ended_at IS NULL AND trouble IS NOT NULL"
        )?;
        Ok(found.figure)
    }
}
