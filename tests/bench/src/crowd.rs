//! People who are online while others log in: each with a number, a remembered device and a session at the gate.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use kavadam_access::api::{Verified, Visit};
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::challenge::{self, Rate};
use kavadam_domain::{Language, Mac, NasId, SiteId, Timestamp};
use kavadam_lab::World;
use kavadam_lab::world::until;
use kavadam_store::Store;
use serde_json::Value;

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Proves a number for a device, as the portal does: the device is remembered from then on.
pub async fn prove(
    (access, store, sealer): (&Access, &Store, &Sealer),
    visit: &Visit,
    number: &str,
) -> anyhow::Result<()> {
    access.start_login(visit, number, true, now()).await?;
    let row = store.read().await?.last_challenge(visit.site, visit.mac).await?;
    let row = row.context("no challenge")?;
    let code = challenge::code(sealer.code_secret(&row.public_id).as_slice());
    if let Verified::Refused(reason) = access.verify_code(visit, &code, now()).await? {
        bail!("refused: {reason:?}");
    }
    Ok(())
}

/// A visit of a device that has just come.
pub fn visit(nas: NasId, site: SiteId, mac: Mac, ip: Ipv4Addr) -> Visit {
    Visit {
        nas,
        site,
        mac,
        ip: ip.into(),
        is_seen: true,
        language: Language::En,
        offline_at: None,
    }
}

/// Brings so many people online in a world, each by a DHCP lease and the MAC.
pub fn come(world: &World, people: u32) -> anyhow::Result<()> {
    let state = world.dir().join("state");
    tokio::runtime::Runtime::new()?.block_on(remember(&state, people))?;
    let socket = state.with_file_name("lease.sock").display().to_string();
    for number in 0..people {
        let (mac, ip) = device(number);
        let (mac, ip) = (colons(mac), ip.to_string());
        world.admin(&["lease-event", "--socket", &socket, "add", &mac, &ip])?;
    }
    let is_there = until(Duration::from_mins(1), || {
        let online = world.admin_json(&["session", "list", "--open"]);
        let count = online.ok().and_then(|list| list.as_array().map(Vec::len));
        count.is_some_and(|count| count >= people as usize)
    });
    ensure!(is_there, "not everybody came online");
    Ok(())
}

/// As many may log in at a site as like.
pub fn settings() -> Settings {
    let no_limit = Rate {
        most: u32::MAX,
        within: Duration::from_mins(1),
    };
    Settings {
        site: no_limit,
        ..Settings::default()
    }
}

async fn remember(state: &Path, people: u32) -> anyhow::Result<()> {
    let store = Store::open(&format!("sqlite:{}", state.join("kavadam.db").display())).await?;
    let sealer = Sealer::from_file(&state.join("master.key"), [0; 32])?;
    let access = Access::new(store.clone(), sealer.clone(), settings());
    let gate = access.nas_by_name("local").await?.context("no gate")?;
    for number in 0..people {
        let (mac, ip) = device(number);
        let visit = visit(gate.id, gate.site, mac, ip);
        prove(
            (&access, &store, &sealer),
            &visit,
            &format!("{}", 8_000_000_000 + u64::from(number)),
        )
        .await?;
    }
    Ok(())
}

/// Beyond what DHCP gives out.
fn device(number: u32) -> (Mac, Ipv4Addr) {
    let [_, _, high, low] = number.to_be_bytes();
    (
        Mac([2, 0, 0x60, 0, high, low]),
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 80, 240, 0)) + number),
    )
}

fn colons(Mac(octets): Mac) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

/// The only open session of a number.
pub fn session_of(world: &World, number: &str) -> anyhow::Result<String> {
    let sessions = world.admin_json(&["session", "list", "--open", "--number", number])?;
    sessions.pointer("/0/id").map(Value::to_string).context("no session")
}
