//! RADIUS: wire format, server, client, CoA.
