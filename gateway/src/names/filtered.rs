//! What is blocked by name, for all and for those of each filter.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use kavadam_domain::FilterName;

use super::blocklist::Blocklist;
use crate::config::{BlockedConfig, GatewayConfig};

/// Who asks for a name that some filter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// Somebody without a filter.
    Plain,
    /// Somebody with this one.
    Filtered(FilterName),
    /// A device that cannot be told apart, as in its first question from a new IPv6 address: every filter holds, or each could be passed so.
    Unknown,
}

/// Every list.
pub(super) struct Lists {
    all: List,
    filters: BTreeMap<FilterName, List>,
}

/// From one part of the configuration.
struct List {
    /// From the configuration alone.
    named: Blocklist,
    files: Vec<PathBuf>,
    /// With what the files say besides.
    blocked: Blocklist,
}

impl Lists {
    /// What the configuration says, the files not yet read.
    pub(super) fn unread(config: &GatewayConfig) -> Self {
        let filters = config.filters.iter();
        Self {
            all: List::unread(&config.blocked),
            filters: filters.map(|(name, filter)| (*name, List::unread(filter))).collect(),
        }
    }

    /// With what the files say. Blocking.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(&self) -> io::Result<Self> {
        let filters = self.filters.iter();
        Ok(Self {
            all: self.all.read()?,
            filters: filters
                .map(|(name, list)| Ok((*name, list.read()?)))
                .collect::<io::Result<_>>()?,
        })
    }

    /// Every file that something is in.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let lists = std::iter::once(&self.all).chain(self.filters.values());
        lists.flat_map(|list| list.files.iter().cloned()).collect()
    }

    /// Whether this name is blocked for whoever asks, which is looked for only if the answer is not the same for all.
    pub(super) fn has(&self, name: &str, asker: impl FnOnce() -> Asker) -> bool {
        if self.all.blocked.has(name) {
            return true;
        }
        let has_name = |(_, list): &(&FilterName, &List)| list.blocked.has(name);
        let mut having = self
            .filters
            .iter()
            .filter(has_name)
            .map(|(filter, _)| *filter)
            .peekable();
        having.peek().is_some()
            && match asker() {
                Asker::Plain => false,
                Asker::Filtered(own) => having.any(|filter| filter == own),
                Asker::Unknown => true,
            }
    }
}

impl List {
    fn unread(config: &BlockedConfig) -> Self {
        Self {
            named: config.names.clone(),
            files: config.files.clone(),
            blocked: config.names.clone(),
        }
    }

    fn read(&self) -> io::Result<Self> {
        let mut blocked = self.named.clone();
        for file in &self.files {
            let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
            let read = blocked.read(&std::fs::read_to_string(file).map_err(told)?);
            if let Some((line, text)) = read.first_strange {
                tracing::warn!(
                    file = %file.display(), line, text, strange = read.strange,
                    "lines of a blocklist are no names, and were passed over"
                );
            }
            tracing::info!(file = %file.display(), names = read.names, "a blocklist was read");
        }
        Ok(Self {
            named: self.named.clone(),
            files: self.files.clone(),
            blocked,
        })
    }
}
