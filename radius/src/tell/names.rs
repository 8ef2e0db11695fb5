//! The names of attributes and values.

use crate::wire::vendor;

/// Nearly all of this vendor's attributes are answers to challenges, encrypted passwords, or keys.
pub(super) const MICROSOFT: u32 = 311;

/// How a value is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text or octets that tell who somebody is.
    Person,
    Number,
    Seconds,
    Octets,
    Ipv4,
    Ipv6,
    /// Addresses of a device.
    PersonIpv4,
    PersonIpv6,
    Time,
    Service,
    Status,
    PortType,
    Cause,
    ErrorCause,
    /// A password, or what one can be computed from: whoever has a challenge and the answer tries all codes of six digits in a second.
    Secret,
}

/// By type; RFC 2865, 2866, 2869, 3162, 3576, 4372, 6911.
pub(super) const ATTRIBUTES: [(u8, &str, Kind); 55] = [
    (1, "User-Name", Kind::Person),
    (2, "User-Password", Kind::Secret),
    (3, "CHAP-Password", Kind::Secret),
    (4, "NAS-IP-Address", Kind::Ipv4),
    (5, "NAS-Port", Kind::Number),
    (6, "Service-Type", Kind::Service),
    (7, "Framed-Protocol", Kind::Number),
    (8, "Framed-IP-Address", Kind::PersonIpv4),
    (9, "Framed-IP-Netmask", Kind::Ipv4),
    (11, "Filter-Id", Kind::Text),
    (12, "Framed-MTU", Kind::Number),
    (18, "Reply-Message", Kind::Text),
    (19, "Callback-Number", Kind::Person),
    (24, "State", Kind::Octets),
    (25, "Class", Kind::Octets),
    (27, "Session-Timeout", Kind::Seconds),
    (28, "Idle-Timeout", Kind::Seconds),
    (29, "Termination-Action", Kind::Number),
    (30, "Called-Station-Id", Kind::Text),
    (31, "Calling-Station-Id", Kind::Person),
    (32, "NAS-Identifier", Kind::Text),
    (33, "Proxy-State", Kind::Octets),
    (40, "Acct-Status-Type", Kind::Status),
    (41, "Acct-Delay-Time", Kind::Seconds),
    (42, "Acct-Input-Octets", Kind::Number),
    (43, "Acct-Output-Octets", Kind::Number),
    (44, "Acct-Session-Id", Kind::Text),
    (45, "Acct-Authentic", Kind::Number),
    (46, "Acct-Session-Time", Kind::Seconds),
    (47, "Acct-Input-Packets", Kind::Number),
    (48, "Acct-Output-Packets", Kind::Number),
    (49, "Acct-Terminate-Cause", Kind::Cause),
    (50, "Acct-Multi-Session-Id", Kind::Text),
    (51, "Acct-Link-Count", Kind::Number),
    (52, "Acct-Input-Gigawords", Kind::Number),
    (53, "Acct-Output-Gigawords", Kind::Number),
    (55, "Event-Timestamp", Kind::Time),
    (60, "CHAP-Challenge", Kind::Octets),
    (61, "NAS-Port-Type", Kind::PortType),
    (69, "Tunnel-Password", Kind::Secret),
    (70, "ARAP-Password", Kind::Secret),
    (77, "Connect-Info", Kind::Text),
    (79, "EAP-Message", Kind::Secret),
    (80, "Message-Authenticator", Kind::Octets),
    (84, "ARAP-Challenge-Response", Kind::Secret),
    (85, "Acct-Interim-Interval", Kind::Seconds),
    (87, "NAS-Port-Id", Kind::Text),
    (88, "Framed-Pool", Kind::Text),
    (89, "Chargeable-User-Identity", Kind::Person),
    (95, "NAS-IPv6-Address", Kind::Ipv6),
    (96, "Framed-Interface-Id", Kind::Person),
    (97, "Framed-IPv6-Prefix", Kind::Person),
    (101, "Error-Cause", Kind::ErrorCause),
    (123, "Delegated-IPv6-Prefix", Kind::Person),
    (168, "Framed-IPv6-Address", Kind::PersonIpv6),
];

/// RFC 2548 among them.
pub(super) const VENDOR_ATTRIBUTES: [(vendor::VendorAttr, &str, Kind); 16] = [
    ((MICROSOFT, 1), "MS-CHAP-Response", Kind::Secret),
    ((MICROSOFT, 2), "MS-CHAP-Error", Kind::Octets),
    ((MICROSOFT, 11), "MS-CHAP-Challenge", Kind::Secret),
    ((MICROSOFT, 25), "MS-CHAP2-Response", Kind::Secret),
    ((MICROSOFT, 26), "MS-CHAP2-Success", Kind::Secret),
    (vendor::WISPR_LOCATION_ID, "WISPr-Location-ID", Kind::Text),
    (vendor::WISPR_LOCATION_NAME, "WISPr-Location-Name", Kind::Text),
    (vendor::WISPR_BANDWIDTH_MAX_UP, "WISPr-Bandwidth-Max-Up", Kind::Number),
    (
        vendor::WISPR_BANDWIDTH_MAX_DOWN,
        "WISPr-Bandwidth-Max-Down",
        Kind::Number,
    ),
    (
        vendor::CHILLISPOT_MAX_INPUT_OCTETS,
        "ChilliSpot-Max-Input-Octets",
        Kind::Number,
    ),
    (
        vendor::CHILLISPOT_MAX_OUTPUT_OCTETS,
        "ChilliSpot-Max-Output-Octets",
        Kind::Number,
    ),
    (
        vendor::CHILLISPOT_MAX_TOTAL_OCTETS,
        "ChilliSpot-Max-Total-Octets",
        Kind::Number,
    ),
    (vendor::CHILLISPOT_CONFIG, "ChilliSpot-Config", Kind::Text),
    (
        vendor::CHILLISPOT_MAX_INPUT_GIGAWORDS,
        "ChilliSpot-Max-Input-Gigawords",
        Kind::Number,
    ),
    (
        vendor::CHILLISPOT_MAX_OUTPUT_GIGAWORDS,
        "ChilliSpot-Max-Output-Gigawords",
        Kind::Number,
    ),
    (
        vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS,
        "ChilliSpot-Max-Total-Gigawords",
        Kind::Number,
    ),
];

/// RFC 2866 §5.10.
pub(super) const TERMINATE_CAUSES: [(u32, &str); 10] = [
    (1, "User-Request"),
    (2, "Lost-Carrier"),
    (3, "Lost-Service"),
    (4, "Idle-Timeout"),
    (5, "Session-Timeout"),
    (6, "Admin-Reset"),
    (7, "Admin-Reboot"),
    (9, "NAS-Error"),
    (10, "NAS-Request"),
    (11, "NAS-Reboot"),
];

/// RFC 5176 §3.5.
pub(super) const ERROR_CAUSES: [(u32, &str); 10] = [
    (401, "401 Unsupported-Attribute"),
    (402, "402 Missing-Attribute"),
    (403, "403 NAS-Identification-Mismatch"),
    (404, "404 Invalid-Request"),
    (405, "405 Unsupported-Service"),
    (407, "407 Invalid-Attribute-Value"),
    (501, "501 Administratively-Prohibited"),
    (503, "503 Session-Context-Not-Found"),
    (504, "504 Session-Context-Not-Removable"),
    (506, "506 Resources-Unavailable"),
];
