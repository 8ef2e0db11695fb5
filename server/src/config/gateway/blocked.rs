//! Where nobody may go, and where those of a filter may not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use kavadam_domain::FilterName;
use kavadam_gateway::config::BlockedConfig;
use kavadam_gateway::{Blocklist, MOST_FILTERS};

use super::values::{network_of, port_of};
use crate::config::file::{Blocked, File, Filter};
use crate::config::problems::Problems;

/// The same for all and for a filter.
#[derive(Clone, Copy)]
struct Given<'a> {
    names: &'a [String],
    files: &'a [PathBuf],
    addresses: &'a [String],
    ports: &'a [String],
}

impl<'a> From<&'a Blocked> for Given<'a> {
    fn from(blocked: &'a Blocked) -> Self {
        Self {
            names: &blocked.names,
            files: &blocked.files,
            addresses: &blocked.addresses,
            ports: &blocked.ports,
        }
    }
}

impl<'a> From<&'a Filter> for Given<'a> {
    fn from(filter: &'a Filter) -> Self {
        Self {
            names: &filter.names,
            files: &filter.files,
            addresses: &filter.addresses,
            ports: &filter.ports,
        }
    }
}

impl Given<'_> {
    fn check(self, key: &str, problems: &mut Problems) {
        let mut names = Blocklist::default();
        for name in self.names {
            if let Err(error) = names.add(name) {
                problems.add(&format!("{key}.names"), &error.to_string());
            }
        }
        for network in self.addresses {
            if let Err(error) = network_of(network) {
                problems.add(&format!("{key}.addresses"), &error.to_string());
            }
        }
        for port in self.ports {
            if let Err(error) = port_of(port) {
                problems.add(&format!("{key}.ports"), &error.to_string());
            }
        }
    }

    fn build(self) -> anyhow::Result<BlockedConfig> {
        let mut names = Blocklist::default();
        for name in self.names {
            names.add(name)?;
        }
        let networks = self.addresses.iter().map(|text| network_of(text));
        let ports = self.ports.iter().map(|text| port_of(text));
        Ok(BlockedConfig {
            names,
            files: self.files.to_vec(),
            networks: networks.collect::<anyhow::Result<_>>()?,
            ports: ports.collect::<anyhow::Result<_>>()?,
        })
    }
}

/// Finds what the other two could not use.
pub(super) fn check(file: &File, problems: &mut Problems) {
    let filters = &file.gateway.filters;
    Given::from(&file.gateway.blocked).check("gateway.blocked", problems);
    for (name, filter) in filters {
        let key = format!("gateway.filters.{name}");
        if let Err(error) = name.parse::<FilterName>() {
            problems.add(&key, &error.to_string());
        }
        Given::from(filter).check(&key, problems);
    }
    let text = format!("{} filters: {MOST_FILTERS} at most", filters.len());
    problems.require(filters.len() <= MOST_FILTERS, "gateway.filters", &text);
}

/// For all.
pub(super) fn blocked(file: &File) -> anyhow::Result<BlockedConfig> {
    Given::from(&file.gateway.blocked).build().context("gateway.blocked")
}

/// By the name of the filter.
pub(super) fn filters(file: &File) -> anyhow::Result<BTreeMap<FilterName, BlockedConfig>> {
    let read = |(name, filter): (&String, &Filter)| {
        let build = || anyhow::Ok((name.parse()?, Given::from(filter).build()?));
        build().with_context(|| format!("gateway.filters.{name}"))
    };
    file.gateway.filters.iter().map(read).collect()
}
