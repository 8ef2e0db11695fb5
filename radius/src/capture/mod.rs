//! RADIUS as it passes: datagrams out of captures and off the wire, and what can be proven of them.

mod datagram;
mod file;
mod reassembly;
mod trace;

pub use datagram::Datagram;
pub use file::{CaptureError, CaptureFile};
pub use reassembly::Reassembly;
pub use trace::{KnownGate, Proof, Seen, Trace};
