//! Our NAS: capture, UAM, RFC 8908 API, RADIUS client with a durable spool
