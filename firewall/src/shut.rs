//! A machine whose gate cannot be closed, as with a configuration that nobody can use: which of its interfaces the devices are at is not known,
//! so nothing at all is forwarded until a gate stands.

use std::collections::BTreeSet;

use crate::FirewallError;
use crate::netlink::{BaseChain, Channel, FAMILY_INET, Table};
use crate::ruleset::set;

/// The table (family inet) that keeps everything from being forwarded. No gate may have its name.
pub const TABLE: &str = "kavadam-shut";

/// Before every rule of others, connection tracking and translation.
const PRIORITY: i32 = -300;
/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;

/// What [`shut()`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is forwarded any more.
    Shut,
    /// Nothing was changed, for gates stand: these are their tables. Their rules drop what comes from a LAN that has no gate.
    Standing(BTreeSet<String>),
}

/// Forwards nothing any more, unless a gate stands: its rules hold, and judge the LANs whose gates are not there too. What goes to the machine
/// itself, and what it sends, passes as before.
///
/// # Errors
/// [`FirewallError::NotPermitted`], [`FirewallError::Kernel`]: the gate may be open.
pub fn shut() -> Result<Outcome, FirewallError> {
    let mut nft = open()?;
    let standing = gates(&mut nft)?;
    if !standing.is_empty() {
        return Ok(Outcome::Standing(standing));
    }
    let mut batch = nft.batch();
    let chain = BaseChain {
        kind: "filter".to_owned(),
        hook: FORWARD,
        priority: PRIORITY,
        drops: true,
    };
    batch
        .table(FAMILY_INET, 0)
        .chain(FAMILY_INET, "forward", Some(&chain))
        .flush_rules(FAMILY_INET);
    nft.commit(batch).map_err(FirewallError::kernel("shut the machine"))?;
    // One that was closed meanwhile looked for our table before it was there.
    let standing = gates(&mut nft)?;
    if !standing.is_empty() {
        lift()?;
        return Ok(Outcome::Standing(standing));
    }
    Ok(Outcome::Shut)
}

/// Forwards again what the other rules let pass: a gate stands.
///
/// # Errors
/// [`FirewallError::NotPermitted`], [`FirewallError::Kernel`]: the machine may still be shut.
pub fn lift() -> Result<(), FirewallError> {
    let lifted = open()?.remove_table();
    lifted.map_err(FirewallError::kernel(
        "forward again (nft delete table inet kavadam-shut)",
    ))
}

/// Whether nothing is forwarded because of [`shut()`].
///
/// # Errors
/// [`FirewallError::NotPermitted`], [`FirewallError::Kernel`].
pub fn is_shut() -> Result<bool, FirewallError> {
    let found = open()?.has_table();
    found.map_err(FirewallError::kernel("look whether the machine is shut"))
}

/// The tables of the gates that stand, this machine's other LANs' too.
///
/// # Errors
/// [`FirewallError::NotPermitted`], [`FirewallError::Kernel`].
pub fn standing_gates() -> Result<BTreeSet<String>, FirewallError> {
    gates(&mut open()?)
}

fn open() -> Result<Channel, FirewallError> {
    Channel::netfilter(Table::named(TABLE)).map_err(FirewallError::kernel("open a netlink socket"))
}

/// By a set that every gate's table has, whatever its name.
fn gates(nft: &mut Channel) -> Result<BTreeSet<String>, FirewallError> {
    let found = nft.tables_with_set(set::LEASE_MACS);
    found
        .map(BTreeSet::from_iter)
        .map_err(FirewallError::kernel("look for a gate"))
}
