//! Octets as the two far ends saw them, by counters of their own: nothing of the gate's is asked.

use anyhow::Context as _;

use crate::netns::{Netns, sh};
use crate::world::{WEB, WEB_PORT, WEB6};
use crate::{Phone, World};

/// Counts IP packets between phones and the web server's [`WEB_PORT`], of TCP and UDP: those that reached a phone, and those that reached the
/// internet. Resets do not count: the gate makes some itself, in the name of either end.
pub struct Tally {
    internet: String,
    phones: Vec<String>,
}

impl Tally {
    /// Starts at zero.
    ///
    /// # Errors
    /// nft cannot be run.
    pub fn begin(world: &World, phones: &[&Phone]) -> anyhow::Result<Self> {
        count(&world.internet, "daddr", "dport")?;
        for phone in phones {
            count(phone.netns(), "saddr", "sport")?;
        }
        Ok(Self {
            internet: world.internet.name().to_owned(),
            phones: phones.iter().map(|phone| phone.netns().name().to_owned()).collect(),
        })
    }

    /// From the phones to the internet, both versions of IP.
    ///
    /// # Errors
    /// nft cannot be run.
    pub fn up(&self) -> anyhow::Result<u64> {
        Ok(read(&self.internet, "v4")? + read(&self.internet, "v6")?)
    }

    /// From the internet to the phones, both versions of IP.
    ///
    /// # Errors
    /// nft cannot be run.
    pub fn down(&self) -> anyhow::Result<u64> {
        let each = self.phones.iter();
        each.map(|phone| Ok(read(phone, "v4")? + read(phone, "v6")?)).sum()
    }

    /// Both directions together.
    ///
    /// # Errors
    /// nft cannot be run.
    pub fn both(&self) -> anyhow::Result<u64> {
        Ok(self.up()? + self.down()?)
    }

    /// Of [`Self::both`], what was IPv6.
    ///
    /// # Errors
    /// nft cannot be run.
    pub fn ipv6(&self) -> anyhow::Result<u64> {
        let down: anyhow::Result<u64> = self.phones.iter().map(|phone| read(phone, "v6")).sum();
        Ok(down? + read(&self.internet, "v6")?)
    }
}

fn count(netns: &Netns, address: &str, port: &str) -> anyhow::Result<()> {
    // A former tally in this place is replaced.
    let text = format!(
        "add table inet tally\ndelete table inet tally\n\
         table inet tally {{\n counter v4 {{ }}\n counter v6 {{ }}\n\
         chain arrived {{\n  type filter hook prerouting priority raw;\n\
         ip {address} {WEB} tcp {port} {WEB_PORT} tcp flags & rst == 0 counter name v4\n\
         ip6 {address} {WEB6} tcp {port} {WEB_PORT} tcp flags & rst == 0 counter name v6\n\
         ip {address} {WEB} udp {port} {WEB_PORT} counter name v4\n\
         ip6 {address} {WEB6} udp {port} {WEB_PORT} counter name v6\n }}\n}}"
    );
    netns.run("nft", &[&text]).map(drop)
}

fn read(netns: &str, counter: &str) -> anyhow::Result<u64> {
    let list = [
        "netns", "exec", netns, "nft", "list", "counter", "inet", "tally", counter,
    ];
    let text = sh("ip", &list)?;
    let octets = text
        .split_once("bytes ")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    octets.context("nft shows no octets")?.parse().context("no number")
}
