//! Accounting-Request (RFC 2866).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{Mac, PortNews, Timestamp};

use crate::NasIdentity;
use crate::device::{framed_ipv6_of, mac_of, write_device};
use crate::limits::{join, split};
use crate::wire::{Code, Draft, Packet, WrongLength, attr, status};
use crate::{free, port_range};

/// What happened (Acct-Status-Type).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountingKind {
    /// The session began.
    Start,
    /// It goes on.
    Interim,
    /// It ended, for this Acct-Terminate-Cause (`kavadam_domain::session::terminate_cause`).
    Stop(u32),
    /// The gate started: every session it had is over.
    On,
    /// The gate stops: the same.
    Off,
    /// An Acct-Status-Type that says nothing of a session of ours (of tunnels, Failed; 0: none), or one that should and names no session.
    Other(u32),
}

/// Meters of one session since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// From the device: Acct-Input-Octets and -Gigawords.
    pub up_octets: u64,
    /// To the device: Acct-Output-Octets and -Gigawords.
    pub down_octets: u64,
    /// From the device: Acct-Input-Packets, which has no gigawords and wraps.
    pub up_packets: u64,
    /// To the device: Acct-Output-Packets, likewise.
    pub down_packets: u64,
    /// Acct-Session-Time.
    pub session_secs: u32,
    /// Acct-Input-Gigawords or -Output-Gigawords was there, if only as zero; always written.
    pub has_gigawords: bool,
}

/// What a gate reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountingRequest {
    /// What happened.
    pub kind: AccountingKind,
    /// Acct-Session-Id: unique at this gate, never used again.
    pub acct_session_id: String,
    /// User-Name given in the grant, or used to log in.
    pub user_name: Option<String>,
    /// Every Class of the grant, in order.
    pub classes: Vec<Vec<u8>>,
    /// Chargeable-User-Identity of the grant.
    pub cui: Option<Vec<u8>>,
    /// Calling-Station-Id.
    pub mac: Option<Mac>,
    /// Called-Station-Id.
    pub called_station_id: Option<String>,
    /// Framed-IP-Address.
    pub framed_ipv4: Option<Ipv4Addr>,
    /// Framed-IPv6-Address.
    pub framed_ipv6: Option<Ipv6Addr>,
    /// IP-Port-Range: how the internet sees the device (RFC 8045 §3.1.2).
    pub ports: Option<PortNews>,
    /// The meters; written for Interim and Stop only.
    pub counters: Counters,
    /// What the session moved besides, free of charge, where our gateway tells; written for Interim and Stop only.
    pub free: Option<FreeOctets>,
    /// When it happened: Event-Timestamp (RFC 2869 §5.3), whole seconds on the wire.
    pub at: Timestamp,
}

impl AccountingRequest {
    /// A report about a session, with nothing else filled in.
    #[must_use]
    pub fn new(kind: AccountingKind, acct_session_id: impl Into<String>, at: Timestamp) -> Self {
        Self {
            kind,
            acct_session_id: acct_session_id.into(),
            user_name: None,
            classes: Vec::new(),
            cui: None,
            mac: None,
            called_station_id: None,
            framed_ipv4: None,
            framed_ipv6: None,
            ports: None,
            counters: Counters::default(),
            free: None,
            at,
        }
    }

    /// Writes the report as sent at `now`: what was spooled says so in Acct-Delay-Time.
    pub(crate) fn draft(&self, nas: &NasIdentity, now: Timestamp) -> Draft {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        draft.u32(attr::ACCT_STATUS_TYPE, self.kind.number());
        draft.text(attr::ACCT_SESSION_ID, &self.acct_session_id);
        if let Some(name) = &self.user_name {
            draft.text(attr::USER_NAME, name);
        }
        for class in &self.classes {
            draft.octets(attr::CLASS, class);
        }
        if let Some(cui) = &self.cui {
            draft.octets(attr::CHARGEABLE_USER_IDENTITY, cui);
        }
        write_device(
            &mut draft,
            self.mac,
            self.called_station_id.as_deref(),
            self.framed_ipv4,
            self.framed_ipv6,
        );
        if let Some(ports) = self.ports {
            port_range::write(&mut draft, ports);
        }
        if matches!(self.kind, AccountingKind::Interim | AccountingKind::Stop(_)) {
            self.counters.write(&mut draft);
            if let Some(told) = self.free {
                free::write(&mut draft, told);
            }
        }
        if let AccountingKind::Stop(cause) = self.kind {
            draft.u32(attr::ACCT_TERMINATE_CAUSE, cause);
        }
        draft.u32(attr::EVENT_TIMESTAMP, unix_secs(self.at));
        draft.u32(
            attr::ACCT_DELAY_TIME,
            u32::try_from(now.since(self.at).as_secs()).unwrap_or(u32::MAX),
        );
        nas.write(&mut draft);
        draft
    }

    /// Reads a verified report that arrived at `now`. `None` if a figure has the wrong length: it must not be acknowledged as 0.
    #[must_use]
    pub fn read(packet: &Packet, now: Timestamp) -> Option<Self> {
        let session_id = packet.id(attr::ACCT_SESSION_ID).filter(|id| !id.is_empty());
        Some(Self {
            kind: AccountingKind::of(packet, session_id.is_some()).ok()?,
            acct_session_id: session_id.unwrap_or_default(),
            user_name: packet.text(attr::USER_NAME),
            classes: packet.all_octets(attr::CLASS),
            cui: packet.octets(attr::CHARGEABLE_USER_IDENTITY),
            mac: mac_of(packet),
            called_station_id: packet.text(attr::CALLED_STATION_ID),
            framed_ipv4: packet.ipv4(attr::FRAMED_IP_ADDRESS),
            framed_ipv6: framed_ipv6_of(packet),
            ports: port_range::read(packet),
            counters: Counters::read(packet).ok()?,
            free: free::read(packet),
            at: happened_at(packet, now).ok()?,
        })
    }

    /// Framed-IP-Address, else Framed-IPv6-Address.
    #[must_use]
    pub fn framed_ip(&self) -> Option<IpAddr> {
        self.framed_ipv4
            .map(IpAddr::V4)
            .or_else(|| self.framed_ipv6.map(IpAddr::V6))
    }
}

impl AccountingKind {
    const fn number(self) -> u32 {
        match self {
            Self::Start => status::START,
            Self::Interim => status::INTERIM,
            Self::Stop(_) => status::STOP,
            Self::On => status::ON,
            Self::Off => status::OFF,
            Self::Other(number) => number,
        }
    }

    fn of(packet: &Packet, names_a_session: bool) -> Result<Self, WrongLength> {
        Ok(match packet.try_u32(attr::ACCT_STATUS_TYPE)?.unwrap_or(0) {
            status::ON => Self::On,
            status::OFF => Self::Off,
            status::START if names_a_session => Self::Start,
            status::INTERIM if names_a_session => Self::Interim,
            // 0 is no cause of RFC 2866: the gate gave none.
            status::STOP if names_a_session => Self::Stop(packet.u32(attr::ACCT_TERMINATE_CAUSE).unwrap_or(0)),
            other => Self::Other(other),
        })
    }
}

impl Counters {
    fn write(&self, draft: &mut Draft) {
        let (up_high, up) = split(self.up_octets);
        let (down_high, down) = split(self.down_octets);
        draft
            .u32(attr::ACCT_SESSION_TIME, self.session_secs)
            .u32(attr::ACCT_INPUT_OCTETS, up)
            .u32(attr::ACCT_INPUT_GIGAWORDS, up_high)
            .u32(attr::ACCT_OUTPUT_OCTETS, down)
            .u32(attr::ACCT_OUTPUT_GIGAWORDS, down_high)
            .u32(attr::ACCT_INPUT_PACKETS, split(self.up_packets).1)
            .u32(attr::ACCT_OUTPUT_PACKETS, split(self.down_packets).1);
    }

    fn read(packet: &Packet) -> Result<Self, WrongLength> {
        let number = |attribute| Ok::<_, WrongLength>(packet.try_u32(attribute)?.unwrap_or(0));
        Ok(Self {
            up_octets: join(number(attr::ACCT_INPUT_GIGAWORDS)?, number(attr::ACCT_INPUT_OCTETS)?),
            down_octets: join(number(attr::ACCT_OUTPUT_GIGAWORDS)?, number(attr::ACCT_OUTPUT_OCTETS)?),
            up_packets: u64::from(number(attr::ACCT_INPUT_PACKETS)?),
            down_packets: u64::from(number(attr::ACCT_OUTPUT_PACKETS)?),
            session_secs: number(attr::ACCT_SESSION_TIME)?,
            has_gigawords: packet.has(attr::ACCT_INPUT_GIGAWORDS) || packet.has(attr::ACCT_OUTPUT_GIGAWORDS),
        })
    }
}

/// A gate whose clock is further behind than this has none, or lost it at a power cut.
const CLOCKLESS: Duration = Duration::from_hours(7 * 24);

/// Event-Timestamp, else now less Acct-Delay-Time. Never later than now: a gate's clock that runs ahead must not charge a period
/// that has not begun. It is believed of Accounting-On and -Off too: taken for news, a recorded one that is played back would end
/// everybody's session. A gate that starts days behind leaves sessions open which it no longer has, until they fall silent.
fn happened_at(packet: &Packet, now: Timestamp) -> Result<Timestamp, WrongLength> {
    let delay = packet.try_u32(attr::ACCT_DELAY_TIME)?.unwrap_or(0);
    let delay = Duration::from_secs(delay.into());
    Ok(packet
        .try_u32(attr::EVENT_TIMESTAMP)?
        .map(|secs| Timestamp::from_secs(i64::from(secs)))
        .filter(|told| *told >= now - delay - CLOCKLESS)
        .unwrap_or(now - delay)
        .min(now))
}

/// Seconds since 1970 as the wire has them, until 2106.
pub(crate) fn unix_secs(at: Timestamp) -> u32 {
    u32::try_from(at.as_secs()).unwrap_or(if at.0 < 0 { 0 } else { u32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vendor;

    fn read(at: Timestamp, write: impl FnOnce(&mut Draft)) -> Option<AccountingRequest> {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        draft.text(attr::ACCT_SESSION_ID, "s1");
        write(&mut draft);
        let packet = draft.seal_request(1, b"secret").unwrap();
        AccountingRequest::read(&Packet::parse(&packet).unwrap(), at)
    }

    #[test]
    fn a_figure_of_the_wrong_length_is_not_taken_for_none() {
        let now = Timestamp::from_secs(1_800_000_000);
        let stop = |draft: &mut Draft| _ = draft.u32(attr::ACCT_STATUS_TYPE, status::STOP);
        assert_eq!(read(now, stop).unwrap().counters, Counters::default());
        let with_gigawords = |draft: &mut Draft| {
            stop(draft);
            draft.u32(attr::ACCT_OUTPUT_GIGAWORDS, 0);
        };
        assert!(read(now, with_gigawords).unwrap().counters.has_gigawords);
        for attribute in [
            attr::ACCT_INPUT_OCTETS,
            attr::ACCT_INPUT_GIGAWORDS,
            attr::ACCT_OUTPUT_OCTETS,
            attr::ACCT_OUTPUT_GIGAWORDS,
            attr::ACCT_SESSION_TIME,
            attr::ACCT_DELAY_TIME,
            attr::EVENT_TIMESTAMP,
        ] {
            let with_long_figure = |draft: &mut Draft| {
                stop(draft);
                draft.octets(attribute, &[0; 8]);
            };
            assert_eq!(read(now, with_long_figure), None, "attribute {attribute}");
        }
    }

    #[test]
    fn what_was_free_goes_with_the_meters_and_never_spoils_them() {
        let now = Timestamp::from_secs(1_800_000_000);
        let free = Some(FreeOctets {
            up: 7,
            down: 5_000_000_000,
        });
        let sent = |kind| {
            let request = AccountingRequest {
                free,
                ..AccountingRequest::new(kind, "s1", now)
            };
            let packet = request
                .draft(&NasIdentity::default(), now)
                .seal_request(1, b"secret")
                .unwrap();
            AccountingRequest::read(&Packet::parse(&packet).unwrap(), now)
                .unwrap()
                .free
        };
        assert_eq!(sent(AccountingKind::Start), None);
        assert_eq!(sent(AccountingKind::Interim), free);
        assert_eq!(sent(AccountingKind::Stop(1)), free);

        let hostile = read(now, |draft| {
            draft.u32(attr::ACCT_STATUS_TYPE, status::STOP);
            draft.u32(attr::ACCT_OUTPUT_OCTETS, 9);
            draft.vendor(vendor::CHILLISPOT_CONFIG, b"kavadam.free=-1/\xff");
            draft.vendor(vendor::CHILLISPOT_CONFIG, b"kavadam.free=18446744073709551616/1");
        });
        let hostile = hostile.unwrap();
        assert_eq!((hostile.free, hostile.counters.down_octets), (None, 9));
    }

    #[test]
    fn a_start_of_the_gate_that_is_played_back_is_as_old_as_it_says() {
        let now = Timestamp::from_secs(1_800_000_000);
        let at = |told: u32, delay: u32| {
            let read = read(now, |draft| {
                draft.u32(attr::ACCT_STATUS_TYPE, status::ON);
                draft.u32(attr::EVENT_TIMESTAMP, told);
                draft.u32(attr::ACCT_DELAY_TIME, delay);
            });
            read.unwrap().at
        };
        assert_eq!(at(1_799_999_000, 0), Timestamp::from_secs(1_799_999_000));
        assert_eq!(at(1_000_000, 5), now - Duration::from_secs(5), "no clock at all");
        assert_eq!(at(1_800_009_999, 0), now, "ahead");
    }
}
