//! How fast sessions open: one JSON line. Run it as root in a network namespace that has an interface `lan0`:
//!
//! `open_rate [PRESENT] [MEASURED]`: opens PRESENT sessions (default 10,000), a hundred at a time as when many log in at once, then measures MEASURED more (1,000), one by
//! one as logins come, each with its quota, speed, end and neighbour entry; then reads them, lets their time run out and closes them, and loads
//! the rules anew, which everybody else waits for.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kavadam_domain::Mac;
use kavadam_firewall::{FirewallError, Gate, Layout, OpenSession, Slot};

const RELOADS: u32 = 5;
/// Who logs in at the same moment.
const TOGETHER: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let present: u32 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let measured: u32 = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let layout = layout(present + measured)?;
    let gate = Gate::load(&layout)?;

    let start = Instant::now();
    let everybody: Vec<u32> = (0..present).collect();
    for some in everybody.chunks(TOGETHER) {
        let sessions: Vec<OpenSession> = some
            .iter()
            .map(|number| session(&gate, *number))
            .collect::<Result<_, _>>()?;
        gate.open_all(&sessions).into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    let filling = start.elapsed();

    let mut slots = Vec::new();
    let opens = each(present..present + measured, |number| {
        slots.push(open(&gate, number)?);
        Ok(())
    })?;
    let start = Instant::now();
    let read = gate.read(&slots)?.len();
    let reading = start.elapsed();
    // As a gateway ends a session: first it lets its time run out, so that its meters become final.
    for slot in &slots {
        gate.set_timeout(*slot, Some(Duration::from_millis(10)))?;
    }
    std::thread::sleep(Duration::from_millis(100));
    let closes = each(slots, |slot| gate.close(slot).map(drop))?;
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

    let line = [
        format!("\"sessions_present\": {present}"),
        format!("\"opened_per_sec\": {:.0}", f64::from(present) / filling.as_secs_f64()),
        format!("\"open_p50_us\": {}", percentile(&opens, 50)),
        format!("\"open_p99_us\": {}", percentile(&opens, 99)),
        format!("\"close_p50_us\": {}", percentile(&closes, 50)),
        format!("\"close_p99_us\": {}", percentile(&closes, 99)),
        format!("\"reload_of_addresses_p50_us\": {}", percentile(&refills, 50)),
        format!("\"reload_p50_ms\": {}", percentile(&reloads, 50) / 1000),
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

fn open(gate: &Gate, number: u32) -> Result<Slot, FirewallError> {
    gate.open(&session(gate, number)?)
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
