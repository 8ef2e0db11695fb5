//! Names for the numbers: packet codes, attributes, vendors, error causes.

use std::fmt;

/// Packet type (RFC 2865 §4, RFC 2866 §4, RFC 5176 §2.3, RFC 5997 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// 1
    AccessRequest,
    /// 2
    AccessAccept,
    /// 3
    AccessReject,
    /// 4
    AccountingRequest,
    /// 5
    AccountingResponse,
    /// 11
    AccessChallenge,
    /// 12
    StatusServer,
    /// 40
    DisconnectRequest,
    /// 41
    DisconnectAck,
    /// 42
    DisconnectNak,
    /// 43
    CoaRequest,
    /// 44
    CoaAck,
    /// 45
    CoaNak,
}

impl Code {
    /// Every code we speak.
    pub const ALL: [Self; 13] = [
        Self::AccessRequest,
        Self::AccessAccept,
        Self::AccessReject,
        Self::AccountingRequest,
        Self::AccountingResponse,
        Self::AccessChallenge,
        Self::StatusServer,
        Self::DisconnectRequest,
        Self::DisconnectAck,
        Self::DisconnectNak,
        Self::CoaRequest,
        Self::CoaAck,
        Self::CoaNak,
    ];

    /// The octet on the wire.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::AccessRequest => 1,
            Self::AccessAccept => 2,
            Self::AccessReject => 3,
            Self::AccountingRequest => 4,
            Self::AccountingResponse => 5,
            Self::AccessChallenge => 11,
            Self::StatusServer => 12,
            Self::DisconnectRequest => 40,
            Self::DisconnectAck => 41,
            Self::DisconnectNak => 42,
            Self::CoaRequest => 43,
            Self::CoaAck => 44,
            Self::CoaNak => 45,
        }
    }

    /// The code of an octet; `None` for those we do not speak.
    #[must_use]
    pub fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.octet() == octet)
    }

    /// Where the sixteen octets of a request's authenticator come from: drawn at random, so that a reply can be bound to them
    /// (`true`), or computed over the packet, so that they prove the secret themselves (`false`: RFC 2866 §3, RFC 5176 §2.3).
    #[must_use]
    pub const fn has_random_authenticator(self) -> bool {
        matches!(self, Self::AccessRequest | Self::StatusServer)
    }

    /// Whether a packet of this code may answer one of that.
    #[must_use]
    pub const fn answers(self, request: Self) -> bool {
        match request {
            Self::AccessRequest => matches!(self, Self::AccessAccept | Self::AccessReject | Self::AccessChallenge),
            Self::AccountingRequest => matches!(self, Self::AccountingResponse),
            Self::StatusServer => matches!(self, Self::AccessAccept | Self::AccountingResponse),
            Self::DisconnectRequest => matches!(self, Self::DisconnectAck | Self::DisconnectNak),
            Self::CoaRequest => matches!(self, Self::CoaAck | Self::CoaNak),
            _ => false,
        }
    }

    /// Whether it asks rather than answers.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            Self::AccessRequest
                | Self::AccountingRequest
                | Self::StatusServer
                | Self::DisconnectRequest
                | Self::CoaRequest
        )
    }

    /// Whether we sign it with Message-Authenticator, and by default refuse it without. Accounting has never carried one and
    /// needs none: its Request Authenticator already proves the secret, and an answer carries nothing worth forging.
    #[must_use]
    pub const fn has_message_authenticator(self) -> bool {
        !matches!(self, Self::AccountingRequest | Self::AccountingResponse)
    }
}

/// Attribute types, by the RFC that names them.
pub mod attr {
    pub use radius_codec::core::rfc2865::{
        CALLED_STATION_ID_TYPE as CALLED_STATION_ID, CALLING_STATION_ID_TYPE as CALLING_STATION_ID,
        CHAP_CHALLENGE_TYPE as CHAP_CHALLENGE, CHAP_PASSWORD_TYPE as CHAP_PASSWORD, CLASS_TYPE as CLASS,
        FILTER_ID_TYPE as FILTER_ID, FRAMED_IP_ADDRESS_TYPE as FRAMED_IP_ADDRESS, IDLE_TIMEOUT_TYPE as IDLE_TIMEOUT,
        NAS_IDENTIFIER_TYPE as NAS_IDENTIFIER, NAS_IP_ADDRESS_TYPE as NAS_IP_ADDRESS, NAS_PORT_TYPE as NAS_PORT,
        NAS_PORT_TYPE_TYPE as NAS_PORT_TYPE, PROXY_STATE_TYPE as PROXY_STATE, REPLY_MESSAGE_TYPE as REPLY_MESSAGE,
        SERVICE_TYPE_TYPE as SERVICE_TYPE, SESSION_TIMEOUT_TYPE as SESSION_TIMEOUT, STATE_TYPE as STATE,
        USER_NAME_TYPE as USER_NAME, USER_PASSWORD_TYPE as USER_PASSWORD, VENDOR_SPECIFIC_TYPE as VENDOR_SPECIFIC,
    };
    pub use radius_codec::core::rfc2866::{
        ACCT_DELAY_TIME_TYPE as ACCT_DELAY_TIME, ACCT_INPUT_OCTETS_TYPE as ACCT_INPUT_OCTETS,
        ACCT_INPUT_PACKETS_TYPE as ACCT_INPUT_PACKETS, ACCT_OUTPUT_OCTETS_TYPE as ACCT_OUTPUT_OCTETS,
        ACCT_OUTPUT_PACKETS_TYPE as ACCT_OUTPUT_PACKETS, ACCT_SESSION_ID_TYPE as ACCT_SESSION_ID,
        ACCT_SESSION_TIME_TYPE as ACCT_SESSION_TIME, ACCT_STATUS_TYPE_TYPE as ACCT_STATUS_TYPE,
        ACCT_TERMINATE_CAUSE_TYPE as ACCT_TERMINATE_CAUSE,
    };
    pub use radius_codec::core::rfc2868::TUNNEL_PASSWORD_TYPE as TUNNEL_PASSWORD;
    pub use radius_codec::core::rfc2869::{
        ACCT_INPUT_GIGAWORDS_TYPE as ACCT_INPUT_GIGAWORDS, ACCT_INTERIM_INTERVAL_TYPE as ACCT_INTERIM_INTERVAL,
        ACCT_OUTPUT_GIGAWORDS_TYPE as ACCT_OUTPUT_GIGAWORDS, EAP_MESSAGE_TYPE as EAP_MESSAGE,
        EVENT_TIMESTAMP_TYPE as EVENT_TIMESTAMP, MESSAGE_AUTHENTICATOR_TYPE as MESSAGE_AUTHENTICATOR,
        NAS_PORT_ID_TYPE as NAS_PORT_ID,
    };
    pub use radius_codec::core::rfc3162::{
        FRAMED_INTERFACE_ID_TYPE as FRAMED_INTERFACE_ID, FRAMED_IPV6_PREFIX_TYPE as FRAMED_IPV6_PREFIX,
        NAS_IPV6_ADDRESS_TYPE as NAS_IPV6_ADDRESS,
    };
    pub use radius_codec::core::rfc3576::ERROR_CAUSE_TYPE as ERROR_CAUSE;
    pub use radius_codec::core::rfc4372::CHARGEABLE_USER_IDENTITY_TYPE as CHARGEABLE_USER_IDENTITY;
    pub use radius_codec::core::rfc6911::FRAMED_IPV6_ADDRESS_TYPE as FRAMED_IPV6_ADDRESS;
}

/// Values of Service-Type (RFC 2865 §5.6, RFC 5176 §3.1).
pub mod service {
    pub use radius_codec::core::rfc2865::{
        SERVICE_TYPE_ADMINISTRATIVE_USER as ADMINISTRATIVE_USER, SERVICE_TYPE_AUTHENTICATE_ONLY as AUTHENTICATE_ONLY,
        SERVICE_TYPE_CALL_CHECK as CALL_CHECK, SERVICE_TYPE_FRAMED_USER as FRAMED_USER,
        SERVICE_TYPE_LOGIN_USER as LOGIN_USER, SERVICE_TYPE_NAS_PROMPT_USER as NAS_PROMPT_USER,
        SERVICE_TYPE_OUTBOUND_USER as OUTBOUND_USER,
    };
    pub use radius_codec::core::rfc3576::SERVICE_TYPE_AUTHORIZE_ONLY as AUTHORIZE_ONLY;
}

/// Values of Acct-Status-Type (RFC 2866 §5.1).
pub mod status {
    pub use radius_codec::core::rfc2866::{
        ACCT_STATUS_TYPE_ACCOUNTING_OFF as OFF, ACCT_STATUS_TYPE_ACCOUNTING_ON as ON,
        ACCT_STATUS_TYPE_INTERIM_UPDATE as INTERIM, ACCT_STATUS_TYPE_START as START, ACCT_STATUS_TYPE_STOP as STOP,
    };
}

/// Vendor attributes: `(vendor's number, attribute's number)`.
pub mod vendor {
    /// A vendor's enterprise number and the type within it.
    pub type VendorAttr = (u32, u8);

    /// WISPr, Wi-Fi Alliance best current practices.
    pub const WISPR: u32 = 14122;
    /// ChilliSpot and CoovaChilli.
    pub const CHILLISPOT: u32 = 14559;

    /// Text: `isocc=,cc=,ac=,network=`.
    pub const WISPR_LOCATION_ID: VendorAttr = (WISPR, 1);
    /// Text.
    pub const WISPR_LOCATION_NAME: VendorAttr = (WISPR, 2);
    /// Towards the internet, bit/s.
    pub const WISPR_BANDWIDTH_MAX_UP: VendorAttr = (WISPR, 7);
    /// Towards the device, bit/s.
    pub const WISPR_BANDWIDTH_MAX_DOWN: VendorAttr = (WISPR, 8);
    /// Octets from the device, low 32 bits.
    pub const CHILLISPOT_MAX_INPUT_OCTETS: VendorAttr = (CHILLISPOT, 1);
    /// Octets to the device, low 32 bits.
    pub const CHILLISPOT_MAX_OUTPUT_OCTETS: VendorAttr = (CHILLISPOT, 2);
    /// Octets both ways, low 32 bits.
    pub const CHILLISPOT_MAX_TOTAL_OCTETS: VendorAttr = (CHILLISPOT, 3);
    /// Free text for the gate; several may be sent.
    pub const CHILLISPOT_CONFIG: VendorAttr = (CHILLISPOT, 6);
    /// High 32 bits of Max-Input-Octets.
    pub const CHILLISPOT_MAX_INPUT_GIGAWORDS: VendorAttr = (CHILLISPOT, 21);
    /// High 32 bits of Max-Output-Octets.
    pub const CHILLISPOT_MAX_OUTPUT_GIGAWORDS: VendorAttr = (CHILLISPOT, 22);
    /// High 32 bits of Max-Total-Octets.
    pub const CHILLISPOT_MAX_TOTAL_GIGAWORDS: VendorAttr = (CHILLISPOT, 23);
}

/// Why a gate refused (RFC 5176 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCause(pub u32);

impl ErrorCause {
    /// 401: an attribute that is not known here, or not in such a request.
    pub const UNSUPPORTED_ATTRIBUTE: Self = Self(401);
    /// 402: a needed attribute is missing.
    pub const MISSING_ATTRIBUTE: Self = Self(402);
    /// 403: NAS-Identifier or NAS-IP-Address names another gate.
    pub const NAS_IDENTIFICATION_MISMATCH: Self = Self(403);
    /// 404: the request makes no sense, or came too late.
    pub const INVALID_REQUEST: Self = Self(404);
    /// 405: Service-Type.
    pub const UNSUPPORTED_SERVICE: Self = Self(405);
    /// 407: a value that cannot be read, or cannot be held to.
    pub const INVALID_ATTRIBUTE_VALUE: Self = Self(407);
    /// 503: no such session here.
    pub const SESSION_CONTEXT_NOT_FOUND: Self = Self(503);
    /// 504: there is one, but it could not be ended.
    pub const SESSION_CONTEXT_NOT_REMOVABLE: Self = Self(504);
    /// 506: not now.
    pub const RESOURCES_UNAVAILABLE: Self = Self(506);
    /// 508: the request fits more than one session.
    pub const MULTIPLE_SESSIONS: Self = Self(508);
}

impl fmt::Display for ErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_octet() {
        for code in Code::ALL {
            assert_eq!(Code::from_octet(code.octet()), Some(code));
        }
        assert_eq!(Code::from_octet(0), None);
        assert_eq!(Code::from_octet(13), None, "Status-Client is not spoken");
    }
}
