//! Where some sessions may not go, and others may.

use ipnet::{Ipv4Net, Ipv6Net};

/// Filters of one gate: a filtered session's first packet to somewhere asks as many sets at most.
pub const MOST_FILTERS: usize = 64;

/// What is in a filter. What the garden opens and what is free is open all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Where its sessions may not go.
    pub nets4: Vec<Ipv4Net>,
    /// Likewise, IPv6.
    pub nets6: Vec<Ipv6Net>,
    /// Ports that they may not speak to, with the protocol: 6 is TCP, 17 UDP.
    pub ports: Vec<(u8, u16)>,
}
