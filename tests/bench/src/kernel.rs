//! Opening sessions in the kernel: ours by netlink beside one `nft` process for each, as others do it.

use std::time::Instant;

use anyhow::Context as _;
use kavadam_lab::netns::Netns;
use serde_json::{Value, json};

use crate::sample::Sample;

/// nft processes run.
const PROCESSES: u32 = 200;

pub fn measure() -> anyhow::Result<Value> {
    let netns = Netns::new(&format!("kvb{}", std::process::id()))?;
    netns.ip("link add lan0 type veth peer name peer0")?;
    netns.ip("link set lan0 up")?;
    netns.ip("link set peer0 up")?;
    let program = crate::beside("examples/open_rate")?.display().to_string();
    let mut ours = Vec::new();
    for present in ["1000", "10000", "100000"] {
        let line = netns.run(&program, &[present, "2000"])?;
        ours.push(serde_json::from_str::<Value>(line.trim()).context("open_rate said no JSON")?);
        netns.run("nft", &["delete", "table", "inet", "kavadam"])?;
    }
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
    Ok(json!({ "what": "open a session in the kernel", "ours": ours,
        "one_set_element_by_an_nft_process": { "p50_us": processes.percentile_us(50), "p99_us": processes.percentile_us(99) } }))
}
