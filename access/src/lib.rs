//! The use cases of the centre, one transaction each. Doors call these; nobody else touches the store.

pub mod api;
