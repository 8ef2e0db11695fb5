//! The kernel: nftables sessions, meters and limits
