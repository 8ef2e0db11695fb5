//! What it costs that the names of people online pass through us: dnsmasq asked straight, and through the door, in turns.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kavadam_lab::World;
use kavadam_lab::world::until;
use serde_json::{Value, json};

use crate::RUNS;
use crate::sample::{Sample, median};

/// How this program calls itself to ask, inside the gateway's namespace.
pub const INSIDE: &str = "names-inside";
const SPEND: Duration = Duration::from_secs(3);
/// Questions under way at once.
const MANY: usize = 64;
const DNSMASQ: &str = "10.80.0.1:53";
const DOOR: &str = "10.80.0.1:5301";

pub fn measure() -> anyhow::Result<Value> {
    let extra = "free = [\"free.example.net\"]\n";
    let world = World::build(&crate::beside("kavadam")?, &crate::beside("kavadam-lab")?, extra)?;
    let this = std::env::current_exe()?.display().to_string();
    let ask = |at: &str, many: usize| -> anyhow::Result<Value> {
        let said = world.gate.run(&this, &[INSIDE, at, &many.to_string()])?;
        Ok(serde_json::from_str(said.trim())?)
    };
    // dnsmasq may be a moment late; and the name is in its cache then.
    ensure!(
        until(Duration::from_secs(10), || ask(DNSMASQ, 1).is_ok()),
        "dnsmasq does not answer"
    );
    let mut figures: [Vec<f64>; 4] = Default::default();
    for _ in 0..RUNS {
        for (at, many, name, into) in [
            (DNSMASQ, 1, "p50_us", 0),
            (DOOR, 1, "p50_us", 1),
            (DNSMASQ, MANY, "per_sec", 2),
            (DOOR, MANY, "per_sec", 3),
        ] {
            let told = ask(at, many)?;
            let figure = told.get(name).and_then(Value::as_f64).context("no figure")?;
            figures.get_mut(into).context("no place")?.push(figure);
        }
    }
    let [dnsmasq_us, door_us, dnsmasq_rate, door_rate] = figures.map(median);
    Ok(json!({ "what": "a cached name, from the gateway itself", "runs": RUNS,
        "one_at_a_time_us": { "dnsmasq": dnsmasq_us, "door": door_us },
        "per_sec_with_64_under_way": { "dnsmasq": dnsmasq_rate, "door": door_rate } }))
}

/// Asks for a while, so many at once.
pub fn measure_inside(at: &str, many: &str) -> anyhow::Result<Value> {
    let (at, many): (SocketAddr, u16) = (at.parse()?, many.parse()?);
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(at)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    for id in 0..many {
        socket.send(&question(id))?;
    }
    let (start, mut answers, mut times, mut buffer) = (Instant::now(), 0_u32, Sample::new(), [0; 512]);
    while start.elapsed() < SPEND {
        let sent = Instant::now();
        // One that was lost would make all the others fewer.
        let length = socket.recv(&mut buffer).context("an answer did not come")?;
        ensure!(length > 40, "no address in the answer");
        answers += 1;
        if many == 1 {
            times.add(sent.elapsed());
        }
        let id = u16::from_be_bytes(*buffer.first_chunk().context("no answer")?);
        socket.send(&question(id))?;
    }
    let per_sec = f64::from(answers) / start.elapsed().as_secs_f64();
    Ok(json!({ "per_sec": per_sec.round(), "p50_us": times.percentile(50).as_micros() }))
}

/// The IPv4 address of a name that the small world knows.
fn question(id: u16) -> Vec<u8> {
    let mut question = id.to_be_bytes().to_vec();
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    question.extend(b"\x03www\x07example\x03net\x00\x00\x01\x00\x01");
    question
}
