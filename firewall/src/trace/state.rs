//! Where a device is, in words, and what would bring it further.

use std::fmt;

/// Where a device is, as in `docs/enforcement.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// It may ask for an address, and nothing else.
    Unheard,
    /// It sees the portal and the walled garden.
    Stranger,
    /// Its packets pass.
    Online,
    /// They would, but the quota is used up.
    UsedUp,
    /// It has a session, but speaks from an address that is not the session's.
    Misaddressed,
    /// They did until its time was up; the session waits to be closed.
    Expired,
}

impl DeviceState {
    /// One word, for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::Stranger => "stranger",
            Self::Online => "online",
            Self::UsedUp => "used_up",
            Self::Misaddressed => "misaddressed",
            Self::Expired => "expired",
        }
    }

    /// What would bring a device further.
    pub(super) const fn next(self) -> &'static str {
        match self {
            Self::Unheard => {
                "It has to ask for an address: leave the Wi-Fi and join again. If that does not help, see whether dnsmasq runs \
                 (`systemctl status kavadam-dnsmasq`), and whether the device has a fixed address, which needs an entry of its own."
            }
            Self::Stranger => {
                "Its person has to log in: any page over http:// leads to the portal. If they just did, ask the centre: `kavadam why`."
            }
            Self::Online => {
                "Nothing is in its way here. If a page does not open, look at DNS and the uplink (`kavadam check`); if it is slow, at the plan's speed."
            }
            Self::UsedUp => {
                "It goes on as soon as its quota is raised (`kavadam subscriber top-up`), or at the next period after a new login."
            }
            Self::Misaddressed => {
                "The gateway gives its session the new address when DHCP tells of it: does it run, and dnsmasq (`systemctl status kavadam kavadam-dnsmasq`)? \
                 If so, leave the Wi-Fi and join again."
            }
            Self::Expired => {
                "The gateway closes it within seconds if it runs (`systemctl status kavadam`); then its person may log in again."
            }
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unheard => "unheard: only DHCP and neighbour discovery are answered",
            Self::Stranger => "a stranger: it sees the portal and the walled garden",
            Self::Online => "online",
            Self::UsedUp => "online, but its quota is used up: nothing passes",
            Self::Misaddressed => "misaddressed: it has a session, but not for the IPv4 address it has now",
            Self::Expired => "expired: its time is up and nothing passes",
        })
    }
}
