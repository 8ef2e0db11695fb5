//! The addresses that DHCP gives out: how many are left, and who was refused one.

use kavadam_firewall::{Layout, SeenAddresses, View};
use kavadam_gateway::full_ports;
use serde_json::{Value, json};

/// As they stand.
pub struct Addresses {
    all: u32,
    seen: SeenAddresses,
    full_ports: Vec<String>,
}

impl Addresses {
    /// Of the gate's pool, and of the ports of its bridge.
    pub fn look(view: &mut View, layout: &Layout) -> anyhow::Result<Self> {
        let seen = view.addresses(layout.dhcp)?;
        Ok(Self {
            all: layout.dhcp.addresses,
            full_ports: full_ports(&layout.lan_if, &seen),
            seen,
        })
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({ "held": self.seen.held, "all": self.all, "refused_requests": self.seen.refused_requests,
            "full_ports": self.full_ports })
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "addresses given out by DHCP: {} of {}",
            self.seen.held, self.all
        )];
        if self.seen.refused_requests > 0 {
            lines.push(format!(
                "refused requests for an address: {}",
                self.seen.refused_requests
            ));
        }
        if !self.full_ports.is_empty() {
            lines.push(format!(
                "ports whose strangers hold as many as they may: {}",
                self.full_ports.join(", ")
            ));
        }
        lines
    }
}
