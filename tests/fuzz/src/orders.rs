//! Orders to a gate, from whoever can send a datagram and from a server that may send anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kavadam_domain::Timestamp;
use kavadam_radius::dynamic::{Authority, DynamicConfig, DynamicHandler};
use kavadam_radius::fuzzing::OrderDoor;
use kavadam_radius::{ErrorCause, LimitsPatch, Secret, Target};

use crate::signing::{self, SECRET};

const NOW_SECS: i64 = 1_800_000_000;
const WINDOW_SECS: u64 = 300;
const DISCONNECT_REQUEST: u8 = 40;
const COA_REQUEST: u8 = 43;
const NAS_IP_ADDRESS: u8 = 4;
const NAS_IDENTIFIER: u8 = 32;
const EVENT_TIMESTAMP: u8 = 55;
const ERROR_CAUSE: u8 = 101;

/// An order made of these octets: mode, identifier, clock, two octets for a bit to turn, then attributes. A forged, stale or foreign one is
/// met with silence and nothing is done; a right one is obeyed at most once, answered well, and each copy gets the same octets.
pub fn order(input: &[u8]) {
    let Some((&[mode, identifier, clock, high, low], attributes)) = input.split_first_chunk::<5>() else {
        return;
    };
    let is_strict = mode & 1 == 0;
    let code = if mode & 2 == 0 { DISCONNECT_REQUEST } else { COA_REQUEST };
    let does_obey = mode & 4 == 0;
    let mut order = signing::packet(code, identifier, [0; 16], attributes);
    signing::sign_request(&mut order, SECRET);
    let now = Timestamp::from_secs(NOW_SECS + i64::from(clock.cast_signed()) * 5);

    let done = Arc::<AtomicU32>::default();
    let door = OrderDoor::new(config(is_strict), Handler(Arc::clone(&done), does_obey));
    let mut by_a_stranger = order.clone();
    signing::sign_request(&mut by_a_stranger, b"another secret");
    let forged = signing::bent(&order, u16::from_be_bytes([high, low]));
    for (datagram, from) in [(&order, [10, 9, 9, 9]), (&forged, SERVER), (&by_a_stranger, SERVER)] {
        assert_eq!(door.answer(datagram, (from, 5000).into(), now), None);
    }
    assert_eq!(done.load(Ordering::Relaxed), 0, "forgers move nothing");

    let answer = door.answer(&order, from(SERVER), now);
    let calls = done.load(Ordering::Relaxed);
    if !is_fresh(&order, now, is_strict) || (is_strict && !signing::is_signed(&order)) {
        assert!(answer.is_none() && calls == 0, "too old, too new, or unsigned");
        return;
    }
    let Some(answer) = answer else {
        assert_eq!(calls, 0, "nothing is done that cannot be answered");
        let states = signing::values(&order, signing::PROXY_STATE);
        let octets: usize = states.iter().map(|state| 2 + state.len()).sum();
        return assert!(octets > 2048 || states.len() > 32, "it can be answered");
    };
    assert_well_answered(&order, &answer, calls, does_obey);
    let copy = door.answer(&order, from(OTHER_SERVER), now);
    assert_eq!(copy.as_deref(), Some(&*answer), "a copy, wherever it comes from");
    assert_eq!(done.load(Ordering::Relaxed), calls, "once");
}

fn assert_well_answered(order: &[u8], answer: &[u8], calls: u32, does_obey: bool) {
    signing::assert_answers(answer, order, SECRET);
    assert!(signing::is_signed(answer), "with Message-Authenticator");
    let is_done = calls == 1 && does_obey;
    let code = order.first().map(|code| if is_done { code + 1 } else { code + 2 });
    assert_eq!(answer.first().copied(), code, "ACK if it is done, NAK if not");
    let causes = signing::values(answer, ERROR_CAUSE);
    assert_eq!(causes.len(), usize::from(!is_done), "and why");
    if calls > 0 {
        assert_eq!(calls, 1);
        let names = signing::values(order, NAS_IDENTIFIER);
        assert!(names.iter().all(|name| name.strip_prefix(NAME).is_some_and(is_padding)));
        let addresses = signing::values(order, NAS_IP_ADDRESS);
        assert!(addresses.iter().all(|address| *address == OURS), "meant for us");
    }
}

fn is_padding(octets: &[u8]) -> bool {
    octets.iter().all(|octet| *octet == 0)
}

/// Within the window by its first Event-Timestamp.
fn is_fresh(order: &[u8], now: Timestamp, is_strict: bool) -> bool {
    match signing::values(order, EVENT_TIMESTAMP).first() {
        None => !is_strict,
        Some(value) => <[u8; 4]>::try_from(*value)
            .is_ok_and(|secs| i64::from(u32::from_be_bytes(secs)).abs_diff(now.as_secs()) <= WINDOW_SECS),
    }
}

const NAME: &[u8] = b"gate-1";
const OURS: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];
const OTHER_SERVER: [u8; 4] = [10, 0, 0, 3];

fn from(address: [u8; 4]) -> SocketAddr {
    (address, 5000).into()
}

fn config(is_strict: bool) -> DynamicConfig {
    let authority = |address: [u8; 4]| Authority {
        source: std::net::IpAddr::from(address).into(),
        secret: Secret::new(SECRET),
    };
    DynamicConfig {
        listen: from(OURS),
        authorities: vec![authority(SERVER), authority(OTHER_SERVER)],
        nas_identifier: "gate-1".into(),
        nas_addresses: vec![OURS.into()],
        is_strict,
    }
}

/// Counts what it is told, and obeys or does not.
struct Handler(Arc<AtomicU32>, bool);

impl Handler {
    fn done(&self, target: &Target) -> Result<(), ErrorCause> {
        assert!(!target.is_empty(), "it names a session");
        self.0.fetch_add(1, Ordering::Relaxed);
        if self.1 {
            Ok(())
        } else {
            Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
        }
    }
}

impl DynamicHandler for Handler {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        self.done(&target)
    }

    async fn change(&self, target: Target, patch: LimitsPatch) -> Result<(), ErrorCause> {
        assert!(!patch.is_empty(), "it changes something");
        self.done(&target)
    }
}
