//! What hostile parties may send, thrown at every parser that meets it. Each target asserts more than that nothing panics.
//!
//! The corpora in `corpus/TARGET` are replayed by `cargo test`; `README.md` tells how to let libFuzzer look for more.

mod accounting;
mod answers;
mod attributes;
mod gates;
mod judgement;
mod orders;
mod radius;
mod radsec;
mod signing;
mod text;

/// A parser under fire: panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 22] = [
    ("radius_packet", radius::packet),
    ("radius_reply", radius::reply),
    ("radius_password", radius::password),
    ("radius_attributes", attributes::read),
    ("radius_intake", gates::request),
    ("radius_answers", answers::answer),
    ("radius_judgement", judgement::reply),
    ("radius_orders", orders::order),
    ("radius_accounting", accounting::reports),
    ("radius_capture", radius::capture),
    ("radius_dictionary", radius::dictionary),
    ("radius_profile", radius::profile),
    ("radsec_stream", radsec::stream),
    ("radius_1_1", radsec::token),
    ("domain_text", text::domain),
    ("portal_query", text::portal_query),
    ("portal_token", text::portal_token),
    ("gateway_query", text::gateway_query),
    ("gateway_leases", text::gateway_leases),
    ("gateway_blocklist", text::gateway_blocklist),
    ("gateway_names", text::gateway_names),
    ("gateway_solicitation", text::gateway_solicitation),
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}
