//! Microsoft's attributes for MS-CHAP (RFC 2548 §2).

use std::fmt::Write as _;

use crate::wire::vendor::VendorAttr;
use crate::wire::{Draft, Packet};

const MICROSOFT: u32 = 311;
const MS_CHAP_RESPONSE: VendorAttr = (MICROSOFT, 1);
const MS_CHAP_ERROR: VendorAttr = (MICROSOFT, 2);
const MS_CHAP_CHALLENGE: VendorAttr = (MICROSOFT, 11);
const MS_CHAP2_RESPONSE: VendorAttr = (MICROSOFT, 25);
const MS_CHAP2_SUCCESS: VendorAttr = (MICROSOFT, 26);

/// Room for the sentence in MS-CHAP-Error: 253 octets less vendor, type, length, identifier and what stands before it.
const MOST_MESSAGE_OCTETS: usize = 190;

/// MS-CHAP2-Response with its MS-CHAP-Challenge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MsChapV2 {
    /// Identifier, which the answer repeats.
    pub ident: u8,
    /// MS-CHAP-Challenge.
    pub challenge: [u8; 16],
    /// Peer-Challenge.
    pub peer_challenge: [u8; 16],
    /// Response.
    pub response: [u8; 24],
}

impl MsChapV2 {
    /// `None` if one of the two attributes is absent, there twice, or has another length than it must.
    pub(super) fn read(packet: &Packet) -> Option<Self> {
        let response = lone(packet, MS_CHAP2_RESPONSE)?;
        let (&[ident, _flags], rest) = response.split_first_chunk::<2>()?;
        let (peer_challenge, rest) = rest.split_first_chunk::<16>()?;
        let (_reserved, response) = rest.split_first_chunk::<8>()?;
        Some(Self {
            ident,
            challenge: lone(packet, MS_CHAP_CHALLENGE)?.try_into().ok()?,
            peer_challenge: *peer_challenge,
            response: response.try_into().ok()?,
        })
    }

    pub(super) fn write(&self, draft: &mut Draft) {
        let response = [
            [self.ident, 0].as_slice(),
            &self.peer_challenge,
            &[0; 8],
            &self.response,
        ]
        .concat();
        draft.vendor(MS_CHAP_CHALLENGE, &self.challenge);
        draft.vendor(MS_CHAP2_RESPONSE, &response);
    }
}

/// How many responses of either version the packet carries.
pub(super) fn responses(packet: &Packet) -> usize {
    [MS_CHAP_RESPONSE, MS_CHAP2_RESPONSE]
        .map(|kind| packet.vendor_octets(kind).len())
        .iter()
        .sum()
}

/// Answers a right response with the server's own proof, `S=` and 40 digits (RFC 2548 §2.3.3).
pub(super) fn write_success(draft: &mut Draft, request: &Packet, success: &str) {
    if let Some(ident) = ident(request, MS_CHAP2_RESPONSE) {
        let value = [&[ident], success.as_bytes()].concat();
        draft.vendor(MS_CHAP2_SUCCESS, &value);
    }
}

/// Answers a refused response (RFC 2548 §2.1.5, RFC 2759 §6): authentication failure, not to be tried again with a new challenge, which
/// `challenge` nevertheless has to be. Nothing, where the request carries no response.
pub(super) fn write_error(draft: &mut Draft, request: &Packet, message: &str, challenge: [u8; 16]) {
    if let Some(ident) = ident(request, MS_CHAP2_RESPONSE) {
        let mut text = "E=691 R=0 C=".to_owned();
        for octet in challenge {
            // Writing to a String does not fail.
            let _ = write!(text, "{octet:02X}");
        }
        text.push_str(" V=3 M=");
        text.push_str(
            message
                .get(..message.floor_char_boundary(MOST_MESSAGE_OCTETS))
                .unwrap_or_default(),
        );
        draft.vendor(MS_CHAP_ERROR, &[&[ident], text.as_bytes()].concat());
    } else if let Some(ident) = ident(request, MS_CHAP_RESPONSE) {
        draft.vendor(MS_CHAP_ERROR, &[&[ident], b"E=691 R=0".as_slice()].concat());
    }
}

fn ident(request: &Packet, kind: VendorAttr) -> Option<u8> {
    let response = request.vendor_octets(kind).into_iter().next()?;
    Some(response.first().copied().unwrap_or_default())
}

fn lone(packet: &Packet, kind: VendorAttr) -> Option<Vec<u8>> {
    let mut all = packet.vendor_octets(kind).into_iter();
    all.next().filter(|_| all.next().is_none())
}
