//! Whether dnsmasq keeps up with those who have an address.

use kavadam_gateway::config::DnsmasqConfig;

use super::Findings;

/// What a lease that is given or renewed costs dnsmasq for each one that there is, since it writes them all anew (docs/benchmarks.md).
const NANOS_EACH: u64 = 1_200;
/// Of a core's time.
const SHARE_PERCENT: u64 = 50;

/// Says where there are more addresses than dnsmasq can renew leases of.
pub(super) fn look(dnsmasq: &DnsmasqConfig, findings: &mut Findings) {
    let addresses = u64::from(dnsmasq.pool().addresses);
    let lease_secs = dnsmasq.lease.as_secs();
    let devices = most_devices(lease_secs);
    if devices < addresses {
        findings.note(&format!(
            "gateway.dnsmasq.range4 has {addresses} addresses, and with lease_secs = {lease_secs} dnsmasq keeps up with some {devices} devices at a \
             time, as it writes all leases anew at each renewal; where more are expected: lease_secs = {}",
            least_lease_secs(addresses)
        ));
    }
}

/// Each renews at half of its lease's time.
fn most_devices(lease_secs: u64) -> u64 {
    (lease_secs * 1_000_000_000 / 100 * SHARE_PERCENT / (2 * NANOS_EACH)).isqrt()
}

fn least_lease_secs(devices: u64) -> u64 {
    (devices * devices * 2 * NANOS_EACH).div_ceil(1_000_000_000 / 100 * SHARE_PERCENT)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(last: &str, lease_secs: u64) -> Vec<String> {
        let dnsmasq = DnsmasqConfig {
            lease: Duration::from_secs(lease_secs),
            range4: ("10.80.1.0".parse().unwrap(), last.parse().unwrap()),
            port_share_percent: 50,
            upstream: Vec::new(),
            domain: String::new(),
        };
        let mut findings = Findings::default();
        look(&dnsmasq, &mut findings);
        findings.lines
    }

    #[test]
    fn a_lease_too_short_for_so_many_addresses_is_told_of_with_one_that_is_not() {
        assert_eq!(said("10.80.63.255", 3_600).len(), 0);
        let note = said("10.80.254.255", 3_600).pop().unwrap();
        assert!(
            note.contains("some 27386 devices") && note.starts_with("note"),
            "{note}"
        );
        let (_, enough) = note.rsplit_once("lease_secs = ").unwrap();
        assert_eq!(said("10.80.254.255", enough.parse().unwrap()), [""; 0]);
    }
}
