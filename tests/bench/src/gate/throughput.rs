//! TCP through the gate, with the network card's help (large segments) and without.

use std::time::Duration;

use anyhow::Context as _;
use kavadam_lab::traces;
use serde_json::{Value, json};

use super::device::SERVER;
use super::figures::median;
use super::peers::Peer;
use super::world::World;

/// Measures those whose cost a person would notice: not the peers whose packets are slow anyhow.
pub fn measure(worlds: &[World], is_quick: bool) -> anyhow::Result<Vec<Value>> {
    let rounds = if is_quick { 1 } else { 3 };
    let chosen: Vec<&World> = worlds
        .iter()
        .filter(|world| world.peer != Peer::OpenNds || world.sessions <= 1000)
        .collect();
    let directory = traces::directory("kvp")?;
    let mut servers = Vec::new();
    for world in &chosen {
        let log = directory.path().join("iperf");
        servers.push(world.ends().2.start(&log, "iperf3", &["-s"])?);
    }
    std::thread::sleep(Duration::from_millis(500));
    let mut told = Vec::new();
    for has_offload in [true, false] {
        for world in &chosen {
            offload(world, has_offload)?;
        }
        let mut rates = vec![(Vec::new(), Vec::new()); chosen.len()];
        for round in 1..=rounds {
            eprintln!("TCP, offload {has_offload}: round {round} of {rounds}");
            for (world, rates) in chosen.iter().zip(&mut rates) {
                rates.0.push(rate(world, &[])?);
                rates.1.push(rate(world, &["-R"])?);
            }
        }
        let router = chosen.iter().position(|world| world.peer == Peer::Router);
        let router = router
            .and_then(|at| rates.get(at).cloned())
            .context("no router to compare with")?;
        let ratios =
            |ours: &[f64], theirs: &[f64]| median(ours.iter().zip(theirs).map(|(one, other)| one / other).collect());
        for (world, (up, down)) in chosen.iter().zip(&rates) {
            told.push(
                json!({ "peer": world.peer.name(), "sessions": world.sessions, "offload": has_offload,
                "up_gbit": median(up.clone()), "down_gbit": median(down.clone()),
                "up_to_router": ratios(up, &router.0), "down_to_router": ratios(down, &router.1) }),
            );
        }
    }
    Ok(told)
}

fn offload(world: &World, is_on: bool) -> anyhow::Result<()> {
    let state = if is_on { "on" } else { "off" };
    let (clients, gateway, internet) = world.ends();
    for (netns, link) in [
        (clients, "eth0"),
        (gateway, "lan0"),
        (gateway, "wan0"),
        (internet, "eth0"),
    ] {
        netns.run("ethtool", &["-K", link, "tso", state, "gso", state, "gro", state])?;
    }
    Ok(())
}

/// Gbit/s that arrive.
fn rate(world: &World, more: &[&str]) -> anyhow::Result<f64> {
    let server = SERVER.to_string();
    let mut words = vec!["-c", &server, "-J", "-t", "2", "-O", "1"];
    words.extend(more);
    let told: Value = serde_json::from_str(&world.ends().0.run("iperf3", &words)?)?;
    let bits = told
        .pointer("/end/sum_received/bits_per_second")
        .and_then(Value::as_f64);
    Ok(bits.context("iperf3 told no rate")? / 1e9)
}
