//! A profile's file as it is written: its keys, and what they are where they are not given.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::COA_PORT;

/// A file, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub name: String,
    pub title: String,
    #[serde(default)]
    pub notes: String,
    pub limits: WrittenLimits,
    #[serde(default)]
    pub always: BTreeMap<String, WrittenValue>,
    #[serde(default)]
    pub throttled: BTreeMap<String, WrittenValue>,
    #[serde(default)]
    pub orders: WrittenOrders,
    #[serde(default)]
    pub seen: WrittenSeen,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenLimits {
    pub session_secs: Option<WrittenNumber>,
    pub idle_secs: Option<WrittenNumber>,
    pub interim_secs: Option<WrittenNumber>,
    pub max_total_octets: Option<WrittenNumber>,
    pub up_bits_per_sec: Option<WrittenNumber>,
    pub down_bits_per_sec: Option<WrittenNumber>,
    pub rate: Option<WrittenText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenNumber {
    pub attribute: String,
    pub gigawords: Option<String>,
    #[serde(default)]
    pub also: Vec<String>,
    pub unit: Option<String>,
    pub least: Option<u32>,
    pub lifted: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenText {
    pub attribute: String,
    pub text: String,
    pub unlimited: String,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a value is text in quotes or a number")]
pub(super) enum WrittenValue {
    Number(u32),
    Text(String),
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "keys of a file, each yes or no")]
pub(super) struct WrittenOrders {
    pub port: WrittenPorts,
    pub disconnect: bool,
    pub change: Vec<String>,
    pub session: Vec<Vec<String>>,
    pub mac: String,
    pub message_authenticator: bool,
    pub event_timestamp: bool,
    pub error_cause: bool,
    pub always: BTreeMap<String, WrittenValue>,
    pub throttled: BTreeMap<String, WrittenValue>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "port: give a UDP port, or several as [3799, 1700]")]
pub(super) enum WrittenPorts {
    One(u16),
    Several(Vec<u16>),
}

impl WrittenPorts {
    pub(super) fn as_slice(&self) -> &[u16] {
        match self {
            Self::One(port) => std::slice::from_ref(port),
            Self::Several(ports) => ports,
        }
    }
}

impl Default for WrittenOrders {
    fn default() -> Self {
        Self {
            port: WrittenPorts::One(COA_PORT),
            disconnect: true,
            change: Vec::new(),
            session: Vec::new(),
            mac: "AA-BB-CC-DD-EE-FF".to_owned(),
            message_authenticator: true,
            event_timestamp: true,
            error_cause: true,
            always: BTreeMap::new(),
            throttled: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenSeen {
    pub handle: Option<String>,
    pub ssid: Vec<String>,
    pub access_point: Vec<String>,
}
