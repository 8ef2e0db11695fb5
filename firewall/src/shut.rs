//! A machine whose gate cannot be closed, as with a configuration that nobody can use: which of its interfaces the devices are at is not known,
//! so nothing at all is forwarded until a gate stands.

use crate::FirewallError;
use crate::netlink::{BaseChain, Channel, FAMILY_INET, Table};
use crate::ruleset::set;

/// The table (family inet) that keeps everything from being forwarded. No gate may have its name.
pub const TABLE: &str = "kavadam-shut";

/// Before every rule of others, connection tracking and translation.
const PRIORITY: i32 = -300;
/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;

/// Forwards nothing any more, unless a gate stands: its rules hold, and judge the LANs whose gates are not there too. Tells whether the machine
/// is shut then. What goes to the machine itself, and what it sends, passes as before.
///
/// # Errors
/// [`FirewallError::NotPermitted`], [`FirewallError::Kernel`]: the gate may be open.
pub fn shut() -> Result<bool, FirewallError> {
    let mut nft = open()?;
    if does_a_gate_stand(&mut nft)? {
        return Ok(false);
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
    if does_a_gate_stand(&mut nft)? {
        lift()?;
        return Ok(false);
    }
    Ok(true)
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

fn open() -> Result<Channel, FirewallError> {
    Channel::netfilter(Table::named(TABLE)).map_err(FirewallError::kernel("open a netlink socket"))
}

/// By a set that every gate's table has, whatever its name.
fn does_a_gate_stand(nft: &mut Channel) -> Result<bool, FirewallError> {
    let found = nft.has_set_anywhere(set::LEASE_MACS);
    found.map_err(FirewallError::kernel("look for a gate"))
}
