//! What the rule set must know about the machine it guards.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use kavadam_domain::{ClassName, FilterName, PortMapping};

use crate::FirewallError;
use crate::class::{ShapingClass, class_problems};
use crate::filter::{Filter, MOST_FILTERS};
use crate::netlink::Table;
use crate::shut;

/// What an uplink can carry to be shared, bit/s: at most what the kernel can tell in 32 bits.
pub const UPLINK_BITS_PER_SEC: RangeInclusive<u64> = 100_000..=30_000_000_000;

/// Interfaces, addresses and ports of one gateway. The interfaces need not exist yet: rules match them by name, so the
/// closed rule set can be loaded before the network is up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a decision of its own")]
pub struct Layout {
    /// The name of its table in the kernel; gates of one machine have different ones.
    pub table: String,
    /// LANs of this machine that other gates guard: what goes between them and the internet is theirs to judge, as long as their tables are there
    /// ([`crate::Gate::guarded_lans`]). What goes between any two LANs is dropped.
    pub other_lans: Vec<OtherLan>,
    /// Where the citizens are.
    pub lan_if: String,
    /// Where the internet is.
    pub wan_if: String,
    /// The gateway's own IPv4 address on the LAN and the LAN's prefix, such as `10.80.0.1/16`.
    pub lan4: Ipv4Net,
    /// The gateway's own IPv6 address on the LAN and the LAN's prefix. `None`: no IPv6 but link-local is let in.
    pub lan6: Option<Ipv6Net>,
    /// The prefixes of whatever other global addresses the LAN interface has are the devices' too, as they come and go
    /// ([`crate::Gate::follow_prefixes`]). [`Layout::lan6`] is then where the gateway itself is reached, whatever becomes of them.
    pub delegated: bool,
    /// TCP port that answers for every HTTP server a stranger asks for.
    pub capture_port: u16,
    /// UDP and TCP port that answers strangers' DNS; 53 if that is the resolver itself.
    pub names_port: u16,
    /// Every TCP port of the gateway that a citizen may reach, logged in or not: capture, UAM, captive portal API,
    /// portal. None of them answers on any interface but the LAN and loopback.
    pub local_ports: Vec<u16>,
    /// UDP and TCP port that answers the DNS of those online for as long as [`crate::Gate::keep_names`] says so; the resolver itself
    /// otherwise. `None`: always the resolver.
    pub citizen_names_port: Option<u16>,
    /// Whatever resolver those online ask, [`Layout::citizen_names_port`] answers. Without it only what they ask us.
    pub all_names: bool,
    /// Destinations open before login and free after it.
    pub garden4: Vec<Ipv4Addr>,
    /// Likewise, IPv6.
    pub garden6: Vec<Ipv6Addr>,
    /// Destinations closed before login and free after it.
    pub free4: Vec<Ipv4Addr>,
    /// Likewise, IPv6.
    pub free6: Vec<Ipv6Addr>,
    /// Where nobody may go, but for what the garden opens and what is free.
    pub blocked4: Vec<Ipv4Net>,
    /// Likewise, IPv6.
    pub blocked6: Vec<Ipv6Net>,
    /// Ports that nobody may speak to, with the protocol: 6 is TCP, 17 UDP.
    pub blocked_ports: Vec<(u8, u16)>,
    /// Where sessions that have one of these filters may not go besides.
    pub filters: BTreeMap<FilterName, Filter>,
    /// Let a stranger be heard only from an address leased to its MAC (see [`crate::Gate::admit_lease`]). Without it a
    /// flood of invented addresses can fill the connection table and lock newcomers out.
    pub strict: bool,
    /// In strict mode, let devices be heard over IPv6 that never ask for a DHCP lease: whoever takes part in neighbour discovery, a few new
    /// ones a second and a thousand at a time.
    pub admit_ipv6_only: bool,
    /// Where the LAN interface is a bridge: let nothing pass from one of its ports to another. Without it only what no device may say to
    /// others is kept from them: router advertisements, redirects and answers of DHCP servers.
    pub isolate: bool,
    /// What a device may send or get at once beyond its speed, after a pause and at the very start, octets; each direction has its own. A second's
    /// worth of the speed comes on top. For sessions opened or changed from now on.
    pub burst_octets: u32,
    /// Which ports of which public addresses each device has to itself; `None`: all share the address of the WAN interface.
    pub ports: Option<PortMapping>,
    /// What the way to the internet carries, to be shared fairly; `None`: each takes what it gets.
    pub uplink: Option<Uplink>,
    /// What of it sessions of these classes get together, where it is shared; 8 at most.
    pub classes: BTreeMap<ClassName, ShapingClass>,
    /// What DHCP gives out, and how much of it those at one port may hold.
    pub dhcp: DhcpPool,
    /// Sessions at once, 1 to 1,000,000. Kernel memory grows by some 130 octets for each, some 160 where something can be free, used or not. Takes effect when
    /// the table is first made.
    pub max_sessions: u32,
}

/// The addresses that DHCP gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DhcpPool {
    /// So many, at least 1.
    pub addresses: u32,
    /// How long each is given for.
    pub lease: Duration,
    /// What strangers at one port of the LAN's bridge may hold of them where it has several, 1 to 100 %. Those with 100 % anywhere are not held up.
    pub share_percent: u8,
}

impl Default for DhcpPool {
    /// Of a LAN of the usual size.
    fn default() -> Self {
        Self {
            addresses: 65_024,
            lease: Duration::from_hours(1),
            share_percent: 50,
        }
    }
}

impl DhcpPool {
    /// What strangers at one port may hold, at least one.
    #[must_use]
    pub fn most_per_port(&self) -> u32 {
        let part = u64::from(self.addresses) * u64::from(self.share_percent) / 100;
        u32::try_from(part.max(1)).unwrap_or(u32::MAX)
    }
}

/// The way to the internet, as fast as it really is or a little slower: who knows less would let others do the queueing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uplink {
    /// Towards the internet, bit/s, 100,000 to 30,000,000,000.
    pub up_bits_per_sec: u64,
    /// Towards the devices, likewise.
    pub down_bits_per_sec: u64,
}

/// A LAN of another gate on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherLan {
    /// Its interface.
    pub interface: String,
    /// That gate's table.
    pub table: String,
}

impl Layout {
    /// A gate that is strict, with only the resolver and one port to be reached, and nothing free or blocked.
    #[must_use]
    pub fn new(lan_if: &str, wan_if: &str, lan4: Ipv4Net, capture_port: u16) -> Self {
        Self {
            table: "kavadam".to_owned(),
            other_lans: Vec::new(),
            lan_if: lan_if.to_owned(),
            wan_if: wan_if.to_owned(),
            lan4,
            lan6: None,
            delegated: false,
            capture_port,
            names_port: 53,
            local_ports: vec![capture_port],
            citizen_names_port: None,
            all_names: false,
            garden4: Vec::new(),
            garden6: Vec::new(),
            free4: Vec::new(),
            free6: Vec::new(),
            blocked4: Vec::new(),
            blocked6: Vec::new(),
            blocked_ports: Vec::new(),
            filters: BTreeMap::new(),
            strict: true,
            admit_ipv6_only: false,
            isolate: true,
            burst_octets: 0,
            ports: None,
            uplink: None,
            classes: BTreeMap::new(),
            dhcp: DhcpPool::default(),
            max_sessions: 131_072,
        }
    }

    /// Whether anything can be free for those online: then it is counted, session by session. Without names that lead to addresses, and
    /// without addresses, nothing is.
    pub(crate) fn counts_free(&self) -> bool {
        let are_given = [
            !self.garden4.is_empty(),
            !self.garden6.is_empty(),
            !self.free4.is_empty(),
            !self.free6.is_empty(),
        ];
        self.citizen_names_port.is_some() || are_given.contains(&true)
    }

    pub(crate) fn table(&self) -> Table {
        Table::named(&self.table)
    }

    /// Everything wrong with this layout, in words for the person who wrote the configuration.
    ///
    /// # Errors
    /// [`FirewallError::Layout`] with all the problems at once.
    pub fn check(&self) -> Result<(), FirewallError> {
        let mut problems = Vec::new();
        if !is_table_name(&self.table) {
            problems.push(format!("{:?} is no name for a table", self.table));
        }
        let others = self.other_lans.iter().map(|other| ("other LAN's", &other.interface));
        for (key, name) in [("LAN", &self.lan_if), ("WAN", &self.wan_if)].into_iter().chain(others) {
            if !is_interface_name(name) {
                problems.push(format!("the {key} interface {name:?} is no interface name"));
            }
        }
        if self.lan_if == self.wan_if {
            problems.push(format!(
                "{:?} cannot be both the LAN and the WAN interface",
                self.lan_if
            ));
        }
        for OtherLan { interface, table } in &self.other_lans {
            if *interface == self.lan_if || *interface == self.wan_if {
                problems.push(format!("{interface:?} is ours, and cannot be another gate's LAN"));
            }
            if *table == self.table || !is_table_name(table) {
                problems.push(format!("the gate of {interface:?} cannot have the table {table:?}"));
            }
        }
        if self.lan4.prefix_len() > 30 {
            problems.push(format!("{} has no room for a citizen", self.lan4));
        }
        if self.delegated && self.lan6.is_none() {
            problems.push("prefixes that come and go want an IPv6 address of the gateway's own that stays".to_owned());
        }
        if !self.local_ports.contains(&self.capture_port) {
            problems.push(format!(
                "the capture port {} is not among the local ports",
                self.capture_port
            ));
        }
        if self.citizen_names_port == Some(self.names_port) {
            problems.push("strangers and those online cannot have the same port for names".to_owned());
        }
        if self.local_ports.contains(&0) || self.names_port == 0 || self.citizen_names_port == Some(0) {
            problems.push("port 0 cannot be reached".to_owned());
        }
        if !(1..=1_000_000).contains(&self.max_sessions) {
            problems.push(format!("{} sessions: allowed are 1 to 1,000,000", self.max_sessions));
        }
        if self.dhcp.addresses == 0 || !(1..=100).contains(&self.dhcp.share_percent) {
            let DhcpPool {
                addresses,
                share_percent,
                ..
            } = self.dhcp;
            problems.push(format!(
                "{share_percent} % of {addresses} addresses can be nobody's part"
            ));
        }
        if self.filters.len() > MOST_FILTERS {
            problems.push(format!("{} filters: allowed are {MOST_FILTERS}", self.filters.len()));
        }
        for speed in self
            .uplink
            .iter()
            .flat_map(|uplink| [uplink.up_bits_per_sec, uplink.down_bits_per_sec])
        {
            if !UPLINK_BITS_PER_SEC.contains(&speed) {
                problems.push(format!("an uplink of {speed} bit/s cannot be shared"));
            }
        }
        problems.extend(class_problems(&self.classes, self.uplink));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(FirewallError::Layout(problems.join("; ")))
        }
    }
}

/// The kernel's own rule (at most 15 octets, no `/`, no white space), and nothing that could end the quotation in nft text.
fn is_interface_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    (1..=15).contains(&name.len()) && name.chars().all(allowed) && name != "." && name != ".."
}

/// A word of `nft` that needs no quotation; it goes into names of files, too.
#[must_use]
pub fn is_table_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let has_form = (1..=31).contains(&name.len()) && name.chars().all(allowed);
    has_form && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name != shut::TABLE
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Layout {
        Layout {
            lan6: Some("fd00:80::1/64".parse().unwrap()),
            names_port: 5300,
            local_ports: vec![8080, 3990, 8443, 8081],
            citizen_names_port: Some(5301),
            garden4: vec!["203.0.113.30".parse().unwrap()],
            garden6: vec!["2001:db8:113::30".parse().unwrap()],
            free4: vec!["203.0.113.40".parse().unwrap()],
            free6: vec!["2001:db8:113::40".parse().unwrap()],
            blocked4: vec!["192.0.2.0/25".parse().unwrap(), "192.0.2.128/25".parse().unwrap()],
            blocked6: vec!["2001:db8:bad::/48".parse().unwrap()],
            blocked_ports: vec![(6, 25), (17, 5060)],
            filters: [(
                "minors".parse().unwrap(),
                Filter {
                    nets4: vec!["198.18.0.0/15".parse().unwrap()],
                    nets6: vec!["2001:db8:bad1::/48".parse().unwrap()],
                    ports: vec![(6, 853)],
                },
            )]
            .into(),
            uplink: Some(Uplink {
                up_bits_per_sec: 20_000_000,
                down_bits_per_sec: 100_000_000,
            }),
            classes: [("free".parse().unwrap(), ShapingClass::default())].into(),
            ..Layout::new("lan0", "wan0", "10.80.0.1/16".parse().unwrap(), 8080)
        }
    }

    #[test]
    fn accepts_the_sample() {
        assert!(sample().check().is_ok());
    }

    #[test]
    fn refuses_interface_names_that_could_inject_rules() {
        for name in [
            "",
            "lan0\" accept",
            "lan 0",
            "a/b",
            "..",
            "lan0\n",
            "longer-than-fifteen",
            "lan*",
        ] {
            let layout = Layout {
                lan_if: name.to_owned(),
                ..sample()
            };
            assert!(layout.check().is_err(), "{name:?}");
        }
    }

    #[test]
    fn refuses_names_of_tables_that_nft_would_misread() {
        for name in ["", "1st", "a b", "x;y", "-", "inet\n", &"n".repeat(32)] {
            assert!(!is_table_name(name), "{name:?}");
        }
        assert!(is_table_name("kavadam-lan1"));
    }

    #[test]
    fn a_lan_is_guarded_by_one_gate() {
        let layout = Layout {
            other_lans: vec![OtherLan {
                interface: "lan0".to_owned(),
                table: "kavadam".to_owned(),
            }],
            ..sample()
        };
        let text = layout.check().unwrap_err().to_string();
        assert!(
            text.contains("another gate's LAN") && text.contains("cannot have the table"),
            "{text}"
        );
    }

    #[test]
    fn tells_every_problem_at_once() {
        let layout = Layout {
            wan_if: "lan0".to_owned(),
            capture_port: 80,
            max_sessions: 0,
            uplink: Some(Uplink {
                up_bits_per_sec: 9,
                down_bits_per_sec: 100_000_000,
            }),
            ..sample()
        };
        let text = layout.check().unwrap_err().to_string();
        for part in [
            "both the LAN and the WAN",
            "capture port 80",
            "0 sessions",
            "uplink of 9 bit/s",
        ] {
            assert!(text.contains(part), "{part} is missing from: {text}");
        }
    }
}
