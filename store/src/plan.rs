//! Plans.

use std::sync::Arc;

use kavadam_domain::plan::{AfterQuota, Period, Plan};
use kavadam_domain::{ClassName, FilterName, PlanId};

use crate::sql::{Figure, Id, execute, row, rows};
use crate::{Result, Tx};

row! {
    /// A plan as stored; see [`Plan`].
    pub struct PlanRow {
        /// Identifier.
        pub id: PlanId,
        /// Unique name.
        pub name: String,
        /// Octets per period.
        pub quota_octets: Option<u64>,
        /// When a new allowance begins.
        pub period: Period,
        /// IANA name.
        pub time_zone: String,
        /// Towards the device, bit/s.
        pub down_bits_per_sec: Option<u64>,
        /// Towards the internet, bit/s.
        pub up_bits_per_sec: Option<u64>,
        /// Longest session, seconds.
        pub session_secs: Option<u32>,
        /// Longest silence, seconds.
        pub idle_secs: Option<u32>,
        /// Devices online at once.
        pub max_devices: u32,
        /// Days without a new code.
        pub remembered_days: u32,
        /// Speed after the quota, bit/s; `None` closes.
        pub throttle_bits_per_sec: Option<u64>,
        /// Name of its filter.
        pub filter: Option<FilterName>,
        /// Name of its shaping class.
        pub class: Option<ClassName>,
    }
}

impl From<PlanRow> for Plan {
    fn from(row: PlanRow) -> Self {
        let after_quota = row
            .throttle_bits_per_sec
            .map_or(AfterQuota::Close, |bits_per_sec| AfterQuota::Throttle { bits_per_sec });
        Self {
            id: row.id,
            name: row.name,
            quota_octets: row.quota_octets,
            period: row.period,
            time_zone: row.time_zone,
            down_bits_per_sec: row.down_bits_per_sec,
            up_bits_per_sec: row.up_bits_per_sec,
            session_secs: row.session_secs,
            idle_secs: row.idle_secs,
            max_devices: row.max_devices,
            remembered_days: row.remembered_days,
            after_quota,
            filter: row.filter,
            class: row.class,
        }
    }
}

impl Tx {
    /// Every plan that was not retired, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn plans(&mut self) -> Result<Vec<Plan>> {
        let found: Vec<PlanRow> = rows!(
            self,
            fetch_all,
            "SELECT * FROM plan WHERE is_retired = FALSE ORDER BY name"
        )?;
        Ok(found.into_iter().map(Plan::from).collect())
    }

    /// One plan, retired or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn plan(&mut self, id: PlanId) -> Result<Option<Arc<Plan>>> {
        if let Some(known) = self.places().plans.get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let found: Option<PlanRow> = rows!(self, fetch_optional, "SELECT * FROM plan WHERE id = $1", id)?;
        let found = found.map(|row| Arc::new(Plan::from(row)));
        if let Some(plan) = &found {
            self.places().plans.insert(id, Arc::clone(plan));
        }
        Ok(found)
    }

    /// The plan of that name, if it was not retired.
    ///
    /// # Errors
    /// The database failed.
    pub async fn plan_named(&mut self, name: &str) -> Result<Option<Plan>> {
        let found: Option<PlanRow> = rows!(
            self,
            fetch_optional,
            "SELECT * FROM plan WHERE name = $1 AND is_retired = FALSE",
            name
        )?;
        Ok(found.map(Plan::from))
    }

    /// Makes the plan, or changes the one of that name, which is then retired no more; `plan.id` is ignored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn save_plan(&mut self, plan: &Plan) -> Result<PlanId> {
        self.change_places().await?;
        let throttle_bits_per_sec = match plan.after_quota {
            AfterQuota::Close => None,
            AfterQuota::Throttle { bits_per_sec } => Some(bits_per_sec),
        };
        let saved: Id = rows!(
            self,
            fetch_one,
            "INSERT INTO plan (name, quota_octets, period, time_zone, down_bits_per_sec, up_bits_per_sec, session_secs,
                 idle_secs, max_devices, remembered_days, throttle_bits_per_sec, filter, class)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (name) DO UPDATE SET quota_octets = excluded.quota_octets, period = excluded.period,
                 time_zone = excluded.time_zone, down_bits_per_sec = excluded.down_bits_per_sec,
                 up_bits_per_sec = excluded.up_bits_per_sec, session_secs = excluded.session_secs,
                 idle_secs = excluded.idle_secs, max_devices = excluded.max_devices,
                 remembered_days = excluded.remembered_days, throttle_bits_per_sec = excluded.throttle_bits_per_sec,
                 filter = excluded.filter, class = excluded.class, is_retired = FALSE
             RETURNING id",
            plan.name,
            plan.quota_octets,
            plan.period,
            plan.time_zone,
            plan.down_bits_per_sec,
            plan.up_bits_per_sec,
            plan.session_secs,
            plan.idle_secs,
            plan.max_devices,
            plan.remembered_days,
            throttle_bits_per_sec,
            plan.filter,
            plan.class,
        )?;
        Ok(PlanId(saved.id))
    }

    /// How many subscribers have a plan of their own, this one. There is no index over it, which each new subscriber would write.
    ///
    /// # Errors
    /// The database failed.
    pub async fn count_subscribers_on_plan(&mut self, plan: PlanId) -> Result<u64> {
        self.be_patient();
        let count: Figure = rows!(
            self,
            fetch_one,
            "SELECT COUNT(*) AS figure FROM subscriber WHERE plan_id = $1",
            plan
        )?;
        Ok(count.figure)
    }

    /// Retires a plan: it is offered no more, and what was charged under it stays on record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retire_plan(&mut self, plan: PlanId) -> Result<()> {
        self.change_places().await?;
        execute!(self, "UPDATE plan SET is_retired = TRUE WHERE id = $1", plan)?;
        Ok(())
    }
}
