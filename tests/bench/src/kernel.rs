//! Opening sessions in the kernel: ours by netlink beside one `nft` process for each, as others do it.

use std::time::Instant;

use anyhow::Context as _;
use kavadam_lab::netns::Netns;
use serde_json::{Value, json};

use crate::RUNS;
use crate::sample::{Sample, Spread, median, ratio};

/// nft processes in a run.
const PROCESSES: u32 = 200;
const PRESENT: [&str; 3] = ["1000", "10000", "100000"];

pub fn measure() -> anyhow::Result<Value> {
    let netns = Netns::new(&format!("kvb{}", std::process::id()))?;
    netns.ip("link add lan0 type veth peer name peer0")?;
    netns.ip("link set lan0 up")?;
    netns.ip("link set peer0 up")?;
    let program = crate::beside("examples/open_rate")?.display().to_string();
    let mut peers = Vec::new();
    let mut ours: Vec<Vec<Value>> = vec![Vec::new(); PRESENT.len()];
    for _ in 0..RUNS {
        peers.push(one_process_each(&netns)?);
        for (present, runs) in PRESENT.iter().zip(&mut ours) {
            let line = netns.run(&program, &[present, "2000"])?;
            runs.push(serde_json::from_str(line.trim()).context("open_rate said no JSON")?);
            netns.run("nft", &["delete", "table", "inet", "kavadam"])?;
        }
    }
    let ours: Vec<Value> = ours.iter().map(|runs| summary(runs, &peers)).collect();
    Ok(
        json!({ "what": "open a session in the kernel", "runs": RUNS, "ours": ours,
        "one_set_element_by_an_nft_process": Spread::of(&peers).json() }),
    )
}

/// Medians of each figure, and how many times the peer's median of the same run is ours.
fn summary(runs: &[Value], peers: &[Sample]) -> Value {
    let figure = |run: &Value, name: &str| run.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let names = runs.first().and_then(Value::as_object).into_iter().flatten();
    let mut medians: serde_json::Map<String, Value> = names
        .map(|(name, _)| {
            let values = runs.iter().map(|run| figure(run, name)).collect();
            (name.clone(), json!(median(values)))
        })
        .collect();
    let times = runs.iter().zip(peers).map(|(run, peer)| {
        let micros = peer.percentile(50).as_secs_f64() * 1e6;
        ratio(micros, figure(run, "open_p50_us"))
    });
    medians.insert("peer_takes_times_as_long".to_owned(), json!(median(times.collect())));
    Value::Object(medians)
}

fn one_process_each(netns: &Netns) -> anyhow::Result<Sample> {
    netns.run("nft", &["add table inet peer"])?;
    netns.run(
        "nft",
        &["add set inet peer online { type ether_addr . ipv4_addr; flags timeout; }"],
    )?;
    let mut processes = Sample::default();
    for number in 0..PROCESSES {
        let element = format!(
            "add element inet peer online {{ 02:00:00:00:00:01 . 10.80.{}.{} timeout 1h }}",
            number / 250,
            number % 250
        );
        let start = Instant::now();
        netns.run("nft", &[&element])?;
        processes.add(start.elapsed());
    }
    netns.run("nft", &["delete", "table", "inet", "peer"])?;
    Ok(processes)
}
