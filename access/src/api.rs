//! What the doors ask and are told. Plain data: a door parses into a request, calls one use case, and renders the outcome.

mod account;
mod admin;
mod authorize;
mod orders;
mod pages;

pub use account::{Accounted, AccountingKind, AccountingReport, Counters};
pub use admin::{SessionView, SubscriberView};
pub use authorize::{AuthorizeRequest, Calls, Decision, Grant, Grounds, Proof, Seen, Service};
pub use orders::{Destination, Order, OrderAction, OrderAnswer, Role};
pub use pages::{Message, PendingCode, Started, Status, Step, Ticket, Verified, Visit};

pub use crate::gate_entry::{Candidates, NasEntry, NasProof, OldSecret, WhichSecret};
pub use crate::ms_chap::MsChapV2;
pub use crate::namesake::named_by;
