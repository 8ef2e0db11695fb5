//! Whether the provider's prefix has come as far as the LAN.

use kavadam_firewall::{Gate, Layout};

use super::Findings;

/// Says which prefixes devices have addresses of, where those come and go.
pub(super) fn look(layout: &Layout, findings: &mut Findings) {
    if !layout.delegated {
        return;
    }
    let own = layout.lan6.map(|net| net.trunc());
    match Gate::lan_prefixes(layout) {
        Ok(all) => {
            let delegated: Vec<String> = all
                .iter()
                .filter(|net| Some(**net) != own)
                .map(ToString::to_string)
                .collect();
            if delegated.is_empty() {
                findings.unsure(&format!(
                    "gateway.delegated_prefixes: {} has no prefix of a provider's yet, so that devices reach the internet over IPv4 alone",
                    layout.lan_if
                ));
            } else {
                findings.good(&format!(
                    "gateway.delegated_prefixes: devices have addresses of {}",
                    delegated.join(", ")
                ));
            }
        }
        Err(error) => findings.unsure(&format!("gateway.delegated_prefixes: {error}")),
    }
}
