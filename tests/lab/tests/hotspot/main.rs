//! The real thing, end to end: DHCP, DNS, HTTP, RADIUS, nftables and SMS in network namespaces of their own. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod advertised;
mod branches;
mod captured;
mod classes;
mod decoded;
mod delegated;
mod ends;
mod failures;
mod filters;
mod foreign_centre;
mod hostapd;
mod hostile;
mod ipv6_only;
mod lans;
mod names;
mod neighbours;
mod ports;
mod proxies;
mod quota;
mod speed;
mod starved;
mod stranger;
mod troubles;
mod tunnelled;
mod withdrawn;

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::until;
use kavadam_lab::{Citizen, Phone, World};
use serde_json::Value;

use kavadam_lab::world::{WEB, WEB6};

const NUMBER: &str = "9876543210";
/// A download that no test waits for, on a port that no gate captures.
const ENDLESS: &str = "http://203.0.113.10:8000/bytes/1000000000000";
const ENDLESS6: &str = "http://[2001:db8:113::10]:8000/bytes/1000000000000";
/// An upload likewise.
const SINK: &str = "http://203.0.113.10:8000/sink";
const SINK6: &str = "http://[2001:db8:113::10]:8000/sink";
/// With segmentation offload one packet may be that large.
const MERGED_PACKET: u64 = 65_536;

static MACHINE: RwLock<()> = RwLock::new(());

/// No other world meanwhile: speeds are measured in this one.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Other worlds do not matter.
fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

fn program() -> PathBuf {
    let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
    let program = lab.with_file_name("kavadam");
    assert!(
        program.exists(),
        "kavadam is not built: run `make test`, or `cargo build --bin kavadam` first"
    );
    program
}

fn world(plan: &[&str]) -> World {
    world_with("", plan)
}

/// A world with more configuration.
fn world_with(extra: &str, plan: &[&str]) -> World {
    let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
    let world = World::build(&program(), lab, extra).unwrap_or_else(|error| panic!("no world: {error:#}"));
    world.set_plan(plan).unwrap();
    world
}

fn phone(world: &mut World) -> Phone {
    let phone = world.phone().unwrap();
    phone.dhcp().unwrap();
    phone
}

fn log_in(world: &World, phone: &Phone, number: &str) {
    Citizen { phone, number }
        .log_in(world)
        .unwrap_or_else(|error| panic!("no login: {error:#}"));
}

fn is_online(phone: &Phone) -> bool {
    phone.probe(CHECK).is_ok_and(|(status, _)| status == 204)
}

/// The newest first.
fn sessions(world: &World) -> Vec<Value> {
    world
        .admin_json(&["session", "list"])
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

/// Both directions.
fn octets(session: &Value) -> u64 {
    session["up_octets"].as_u64().unwrap() + session["down_octets"].as_u64().unwrap()
}

fn is_over(world: &World, patience: Duration) -> bool {
    until(patience, || {
        sessions(world).iter().all(|session| session["state"] == "ended")
    })
}

/// Ends the newest session as an administrator, and waits for its last report.
fn end(world: &World) {
    let id = sessions(world)[0]["id"].to_string();
    world.admin(&["session", "end", &id]).unwrap();
    assert!(
        is_over(world, Duration::from_secs(15)),
        "an administrator's end was not obeyed"
    );
}

/// Bits per second by a counter of octets, over this time.
fn rate(count: impl Fn() -> u64, time: Duration) -> u64 {
    let (start, before) = (Instant::now(), count());
    std::thread::sleep(time);
    let octets = u128::from(count() - before);
    u64::try_from(octets * 8 * 1_000_000 / start.elapsed().as_micros()).unwrap()
}

/// Within five per cent. The kernel's bucket holds a second of the rate, so this wants a dozen seconds or more than one flow.
fn assert_rate(measured: u64, wanted: u64, what: &str) {
    let tolerated = wanted / 20;
    assert!(
        (wanted - tolerated..=wanted + tolerated).contains(&measured),
        "{what}: {measured} bit/s where the plan says {wanted}"
    );
}
