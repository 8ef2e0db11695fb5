//! Accounting from octets on the wire to octets charged.

use kavadam_domain::Timestamp;
use kavadam_domain::accounting::{Meter, Reading};
use kavadam_radius::wire::{Code, Draft, Packet, attr, status};
use kavadam_radius::{AccountingKind, AccountingRequest};

const SECRET: &[u8] = b"a secret for fuzzing";
/// Flags, two counters, two gigawords, age, time since the report before.
const RECORD_OCTETS: usize = 15;

/// A session's reports, whatever a gate makes of them: each is read from its packet as it was written, what is charged never falls, and
/// the last one again charges nothing.
pub fn reports(octets: &[u8]) {
    let mut now = Timestamp::from_secs(1_800_000_000);
    let mut meter = Meter::default();
    for record in octets.as_chunks::<RECORD_OCTETS>().0 {
        let report = Report::of(record);
        now = now + std::time::Duration::from_secs(report.passed_secs.into());
        let Some(request) = report.on_the_wire(now) else { return };
        assert!(request.at <= now, "never later than now");
        let counters = &request.counters;
        assert_eq!(counters.has_gigawords, report.has_gigawords());
        if !report.is_start() {
            assert_eq!(counters.down_octets & u64::from(u32::MAX), u64::from(report.down));
        }
        let reading = Reading {
            up_octets: counters.up_octets,
            down_octets: counters.down_octets,
            session_secs: counters.session_secs,
            has_gigawords: counters.has_gigawords,
        };
        let after = meter.after(reading, request.at);
        assert!(after.up_octets() >= meter.up_octets() && after.down_octets() >= meter.down_octets());
        assert_eq!(after.after(reading, request.at).total_octets(), after.total_octets());
        if request.kind == AccountingKind::Start {
            assert_eq!(after.total_octets(), meter.total_octets(), "a Start tells of no octets");
        }
        meter = after;
    }
}

struct Report {
    flags: u8,
    up: u32,
    down: u32,
    up_high: u8,
    down_high: u8,
    age_secs: u16,
    passed_secs: u16,
}

impl Report {
    #[expect(clippy::many_single_char_names, reason = "the octets of two numbers")]
    fn of(record: &[u8; RECORD_OCTETS]) -> Self {
        let [
            flags,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            up_high,
            down_high,
            age,
            age_low,
            passed,
            passed_low,
        ] = *record;
        Self {
            flags,
            up: u32::from_be_bytes([a, b, c, d]),
            down: u32::from_be_bytes([e, f, g, h]),
            up_high,
            down_high,
            age_secs: u16::from_be_bytes([age, age_low]),
            passed_secs: u16::from_be_bytes([passed, passed_low]),
        }
    }

    const fn is_start(&self) -> bool {
        self.flags.is_multiple_of(4)
    }

    const fn has_gigawords(&self) -> bool {
        self.flags & 4 != 0 && !self.is_start()
    }

    fn on_the_wire(&self, now: Timestamp) -> Option<AccountingRequest> {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        draft.text(attr::ACCT_SESSION_ID, "a session");
        let kind = match self.flags & 3 {
            0 => status::START,
            1 => status::STOP,
            _ => status::INTERIM,
        };
        draft.u32(attr::ACCT_STATUS_TYPE, kind);
        if !self.is_start() {
            draft
                .u32(attr::ACCT_INPUT_OCTETS, self.up)
                .u32(attr::ACCT_OUTPUT_OCTETS, self.down)
                .u32(attr::ACCT_SESSION_TIME, self.age_secs.into());
        }
        if self.has_gigawords() {
            draft
                .u32(attr::ACCT_INPUT_GIGAWORDS, self.up_high.into())
                .u32(attr::ACCT_OUTPUT_GIGAWORDS, self.down_high.into());
        }
        if self.flags & 8 != 0 {
            draft.u32(attr::ACCT_DELAY_TIME, u32::from(self.flags >> 4) * 7);
        }
        let packet = draft.seal_request(1, SECRET).ok()?;
        AccountingRequest::read(&Packet::parse(&packet).ok()?, now)
    }
}
