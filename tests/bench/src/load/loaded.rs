//! What the loader writes is what the use cases read: this fails first when a table has changed.

use std::path::Path;

use kavadam_access::admin::NasSetting;
use kavadam_access::api::{
    Accounted, AccountingKind, AccountingReport, AuthorizeRequest, Counters, Decision, Seen, Service,
};
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Mac, NasId, Plan, PlanId, Timestamp};
use kavadam_store::Store;

use super::centre;
use super::population;
use super::sql::{Database, Engine};

const DEVICES: u32 = 300;
const GATES: u32 = 4;

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

async fn load(dir: &Path, database: &Database) -> (Access, Vec<NasId>) {
    let store = Store::open(&database.url()).await.unwrap();
    let access = Access::new(store, Sealer::new([5; 32]), Settings::default());
    let plan = Plan {
        id: PlanId(0),
        name: "citizen".into(),
        quota_octets: Some(1 << 40),
        period: Period::Day,
        time_zone: "Asia/Kolkata".into(),
        down_bits_per_sec: None,
        up_bits_per_sec: None,
        session_secs: None,
        idle_secs: None,
        max_devices: 2,
        remembered_days: 14,
        after_quota: AfterQuota::Close,
        filter: None,
        class: None,
    };
    access.set_plan(&plan, "bench", now()).await.unwrap();
    access.set_site("here", true, "citizen", "bench", now()).await.unwrap();
    let mut gates = Vec::new();
    for gate in 0..GATES {
        let nas = NasSetting {
            name: &format!("gate-{gate}"),
            site: "here",
            source: format!("127.1.0.{}/32", gate + 1).parse().unwrap(),
            secret: b"a-secret-of-all-gates",
            uam_secret: b"a-secret-of-all-gates",
            coa_port: 3799,
            coa_host: None,
            profile: "kavadam",
            is_renewing: false,
        };
        gates.push(access.set_nas(&nas, "bench", now()).await.unwrap());
    }
    let work = centre::population_of(database, GATES, DEVICES).unwrap();
    database.load(dir, &work).unwrap();
    (access, gates)
}

/// Beyond 255, so that a device's number takes two octets.
const ONE: u32 = 299;

async fn goes_on_and_comes_back(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::make(engine, dir.path(), "kavadam_loaded").unwrap();
    let (access, gates) = load(dir.path(), &database).await;
    let [a, b, c, d] = population::sevens(ONE);
    let mac = Mac([2, 0x4C, a, b, c, d]);
    let nas = gates[usize::try_from(ONE % GATES).unwrap()];
    let (mut session, mut written) = (String::new(), String::new());
    population::session(ONE, 0, &mut session);
    population::mac(ONE, &mut written);
    assert_eq!(written.parse::<Mac>(), Ok(mac));

    let report = AccountingReport {
        nas,
        from: None,
        kind: AccountingKind::Interim,
        acct_session_id: session,
        class: Some([centre::CLASS.as_slice(), &[a, b, c, d]].concat()),
        user_name: None,
        mac: Some(mac),
        ip: None,
        ports: None,
        free: None,
        counters: Counters {
            down_octets: 5_000,
            session_secs: 1,
            ..Counters::default()
        },
        at: now(),
    };
    assert_eq!(access.account(report, now()).await.unwrap(), Accounted::Charged(5_000));
    let request = AuthorizeRequest {
        seen: Seen::default(),
        nas,
        user_name: written,
        service: Service::CallCheck,
        mac: Some(mac),
        ip: None,
        acct_session_id: Some("another-visit".into()),
        class: None,
        wants_cui: false,
    };
    let decision = access.authorize(request, now()).await.unwrap();
    assert!(matches!(decision, Decision::Accept(_)), "{decision:?}");
}

#[tokio::test]
async fn a_loaded_session_goes_on_and_its_device_comes_back_on_sqlite() {
    goes_on_and_comes_back(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_loaded_session_goes_on_and_its_device_comes_back_on_postgresql() {
    goes_on_and_comes_back(Engine::Postgres).await;
}
