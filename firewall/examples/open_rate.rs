//! How fast sessions open: one JSON line. Run it as root in a network namespace that has an interface `lan0`:
//!
//! `open_rate [PRESENT] [MEASURED] [free]`: opens PRESENT sessions (default 10,000), a hundred at a time as when many log in at once, then measures MEASURED more (1,000), one by
//! one as logins come, each with its quota, speed, end and neighbour entry; then reads them, and as many of the others; renews and closes the ones one by one, the others
//! a hundred at a time; and loads the rules anew, which everybody else waits for, twice so that every session changes by it: something is free, and
//! at last the class of all is there. With `free` something is free from the start, so that a session has meters of that too.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kavadam_domain::{ClassName, Mac};
use kavadam_firewall::{FirewallError, Gate, Layout, OpenSession, PoolKey, SessionLimits, ShapingClass, Slot, Uplink};

const RELOADS: u32 = 5;
/// Who logs in at the same moment.
const TOGETHER: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let present: u32 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let measured: u32 = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let mut layout = layout(present + measured)?;
    if arguments.next().is_some_and(|word| word == "free") {
        layout.garden4.push(Ipv4Addr::new(203, 0, 113, 0));
    }
    let gate = Gate::load(&layout)?;

    let start = Instant::now();
    let everybody: Vec<u32> = (0..present).collect();
    let mut crowd = Vec::new();
    for some in everybody.chunks(TOGETHER) {
        let sessions: Vec<OpenSession> = some
            .iter()
            .map(|number| session(&gate, *number))
            .collect::<Result<_, _>>()?;
        for (opened, session) in gate.open_all(&sessions).into_iter().zip(&sessions) {
            crowd.push((opened?, session.pool));
        }
    }
    crowd.truncate(usize::try_from(measured)?);
    let filling = start.elapsed();

    let mut slots = Vec::new();
    let opens = each(present..present + measured, |number| {
        let session = session(&gate, number)?;
        slots.push((gate.open(&session)?, session.pool));
        Ok(())
    })?;
    let start = Instant::now();
    let read = gate
        .read(&slots.iter().map(|(slot, _)| *slot).collect::<Vec<_>>())?
        .len();
    let reading = start.elapsed();

    let renewals = each(&slots, |one| renew(&gate, std::slice::from_ref(one)))?;
    let start = Instant::now();
    crowd.chunks(TOGETHER).try_for_each(|some| renew(&gate, some))?;
    let renewing = start.elapsed();
    halt(&gate, &slots)?;
    let closes = each(&slots, |one| close(&gate, std::slice::from_ref(one)))?;
    halt(&gate, &crowd)?;
    let start = Instant::now();
    crowd.chunks(TOGETHER).try_for_each(|some| close(&gate, some))?;
    let closing = start.elapsed();
    // What changes every session, now and at last, and how long others wait for it at most.
    let free = Layout {
        garden4: vec![Ipv4Addr::new(203, 0, 113, 200)],
        ..layout.clone()
    };
    let (to_free, waits_for_free) = beside(&gate, || gate.reload(&free))?;
    // Another address in the garden each time; then who is kept apart, which is a rule.
    let refills = each(1..=RELOADS, |number| {
        gate.reload(&Layout {
            garden4: (0..number).map(|last| Ipv4Addr::from(0xcb00_7100 + last)).collect(),
            ..layout.clone()
        })
    })?;
    let reloads = each(0..RELOADS, |number| {
        gate.reload(&Layout {
            isolate: number % 2 == 1,
            ..layout.clone()
        })
    })?;

    layout.uplink = Some(Uplink {
        up_bits_per_sec: 1_000_000_000,
        down_bits_per_sec: 1_000_000_000,
    });
    layout
        .classes
        .extend(class().map(|class| (class, ShapingClass::default())));
    let (to_class, waits_for_class) = beside(&gate, || gate.reload(&layout))?;

    let line = [
        format!("\"sessions_present\": {present}"),
        format!("\"opened_per_sec\": {:.0}", per_sec(everybody.len(), filling)),
        format!("\"open_p50_us\": {}", percentile(&opens, 50)),
        format!("\"open_p99_us\": {}", percentile(&opens, 99)),
        format!("\"renew_p50_us\": {}", percentile(&renewals, 50)),
        format!("\"renewed_per_sec\": {:.0}", per_sec(crowd.len(), renewing)),
        format!("\"close_p50_us\": {}", percentile(&closes, 50)),
        format!("\"close_p99_us\": {}", percentile(&closes, 99)),
        format!("\"closed_per_sec\": {:.0}", per_sec(crowd.len(), closing)),
        format!("\"reload_of_addresses_p50_us\": {}", percentile(&refills, 50)),
        format!("\"reload_p50_ms\": {}", percentile(&reloads, 50) / 1000),
        format!("\"reload_max_ms\": {}", percentile(&reloads, 100) / 1000),
        format!("\"reload_to_free_ms\": {}", to_free.as_millis()),
        format!("\"others_wait_for_free_max_ms\": {}", waits_for_free.as_millis()),
        format!("\"reload_to_class_ms\": {}", to_class.as_millis()),
        format!("\"others_wait_for_class_max_ms\": {}", waits_for_class.as_millis()),
        format!("\"meters_read\": {read}"),
        format!("\"meters_read_us\": {}", reading.as_micros()),
    ];
    std::io::Write::write_all(&mut std::io::stdout(), format!("{{{}}}\n", line.join(", ")).as_bytes())?;
    Ok(())
}

fn layout(max_sessions: u32) -> Result<Layout, Box<dyn std::error::Error>> {
    Ok(Layout {
        lan6: Some("fd00:80::1/64".parse()?),
        max_sessions: max_sessions.max(1),
        ..Layout::new("lan0", "wan0", "10.0.0.1/8".parse()?, 8080)
    })
}

/// How long a piece of work takes, and how long somebody beside it waits at most who reads one counter.
fn beside(
    gate: &Gate,
    work: impl FnOnce() -> Result<(), FirewallError>,
) -> Result<(Duration, Duration), FirewallError> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let start = Instant::now();
                _ = gate.refused_requests();
                longest = longest.max(start.elapsed());
            }
            longest
        });
        let start = Instant::now();
        let worked = work();
        let took = start.elapsed();
        is_over.store(true, Ordering::Relaxed);
        worked?;
        Ok((took, asker.join().unwrap_or_default()))
    })
}

/// Everybody's, which the gate has at last.
fn class() -> Option<ClassName> {
    "crowd".parse().ok()
}

/// As a lease is renewed: more octets, and a later end.
fn renew(gate: &Gate, some: &[(Slot, PoolKey)]) -> Result<(), FirewallError> {
    let limits = SessionLimits {
        up_bits_per_sec: Some(5_000_000),
        down_bits_per_sec: Some(10_000_000),
        timeout: Some(Duration::from_hours(2)),
        filter: None,
        class: class(),
    };
    let failed = gate.limit_all(&some.iter().map(|(slot, _)| (*slot, limits)).collect());
    failed.into_iter().try_for_each(|(_, error)| Err(error))?;
    let failed = gate.set_pool_limits(&some.iter().map(|(_, pool)| (*pool, Some(2_000_000_000))).collect());
    failed.into_iter().try_for_each(|(_, error)| Err(error))
}

/// As a gateway ends sessions: first it lets their time run out, so that their meters become final.
fn halt(gate: &Gate, some: &[(Slot, PoolKey)]) -> Result<(), FirewallError> {
    let soon = Some(Duration::from_millis(10));
    let failed = gate.set_timeouts(&some.iter().map(|(slot, _)| (*slot, soon)).collect());
    std::thread::sleep(Duration::from_millis(100));
    failed.into_iter().try_for_each(|(_, error)| Err(error))
}

fn close(gate: &Gate, some: &[(Slot, PoolKey)]) -> Result<(), FirewallError> {
    let closed = gate.close_all(&some.iter().map(|(slot, _)| *slot).collect());
    closed.into_iter().try_for_each(|(_, result)| result.map(drop))
}

fn per_sec(how_many: usize, in_all: Duration) -> f64 {
    f64::from(u32::try_from(how_many).unwrap_or(u32::MAX)) / in_all.as_secs_f64()
}

fn session(gate: &Gate, number: u32) -> Result<OpenSession, FirewallError> {
    let [a, b, c, d] = number.to_be_bytes();
    let pool = gate.create_pool(Some(1_000_000_000))?;
    Ok(OpenSession {
        mac: Mac([2, 0, a, b, c, d]),
        ipv4: Some(Ipv4Addr::from(0x0a10_0000 + number)),
        pool,
        up_bits_per_sec: Some(5_000_000),
        down_bits_per_sec: Some(10_000_000),
        timeout: Some(Duration::from_hours(1)),
        filter: None,
        class: class(),
        label: number.to_string().into_bytes(),
    })
}

/// How long each took, sorted.
fn each<T>(
    items: impl IntoIterator<Item = T>,
    mut work: impl FnMut(T) -> Result<(), FirewallError>,
) -> Result<Vec<Duration>, FirewallError> {
    let mut times = Vec::new();
    for item in items {
        let start = Instant::now();
        work(item)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Microseconds within which so many of a hundred were done.
fn percentile(sorted: &[Duration], percent: usize) -> u128 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .map_or(0, Duration::as_micros)
}
