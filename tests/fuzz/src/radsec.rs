//! RADIUS over TLS, as a holder of a certificate may send it.

use kavadam_radius::AccessRequest;
use kavadam_radius::wire::token::{reply_of_token, request_of_token, token_of, with_message_authenticator, with_token};
use kavadam_radius::wire::{Code, MAX_PACKET_OCTETS, Packet, PacketStream, RADSEC_SECRET, announced_length};

/// A stream: however it is cut, the same packets come out up to the first that is none, and no more than one is ever held.
pub fn stream(octets: &[u8]) {
    let whole = packets(octets, octets.len().max(1));
    for step in [1, 7, 333] {
        assert_eq!(packets(octets, step), whole, "cut every {step} octets");
    }
    let (packets, is_broken) = whole;
    for packet in &packets {
        assert_eq!(announced_length(packet), Ok(Some(packet.len())));
        if let Ok(signed) = with_message_authenticator(packet) {
            let (before, after) = (Packet::parse(packet), Packet::parse(&signed));
            assert_eq!(
                before.map(|packet| packet.code()).ok(),
                after.map(|packet| packet.code()).ok()
            );
        }
    }
    let taken: usize = packets.iter().map(Vec::len).sum();
    assert!(is_broken || octets.len() - taken < MAX_PACKET_OCTETS);
}

/// The packets of a stream that comes in steps, and whether it ended with something that is none.
fn packets(octets: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut stream, mut taken) = (PacketStream::default(), Vec::new());
    for chunk in octets.chunks(step) {
        stream.buffer().extend_from_slice(chunk);
        loop {
            match stream.take() {
                Ok(Some(packet)) => taken.push(packet),
                Ok(None) => break,
                Err(_) => return (taken, true),
            }
        }
    }
    (taken, false)
}

/// A packet of RADIUS/1.1: in the other form it is well signed and says the same, and comes back as it was but for what is forbidden.
pub fn token(packet: &[u8]) {
    if let Ok(reply) = reply_of_token(packet) {
        assert!(reply.len() <= packet.len());
        _ = Packet::parse(&reply).map(|reply| kavadam_radius::AccessReply::read(&reply));
    }
    let (Ok(plain), Some(token)) = (request_of_token(packet), token_of(packet)) else {
        return;
    };
    assert!(plain.len() <= MAX_PACKET_OCTETS);
    let Ok(read) = Packet::parse(&plain) else { return };
    assert_eq!(read.verify_request(RADSEC_SECRET, true), Ok(()), "it is signed");
    if read.code() == Code::AccessRequest {
        _ = AccessRequest::read(&read, RADSEC_SECRET);
    }
    let Ok(back) = with_token(&plain, token) else { return };
    assert_eq!(token_of(&back), Some(token));
    let again = request_of_token(&back).and_then(|plain| with_token(&plain, token));
    assert_eq!(again.as_ref(), Ok(&back), "once more changes nothing");
}
