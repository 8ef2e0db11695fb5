-- Paired with ../postgres/0001_begin.sql; a test compares the two.
-- Times are microseconds since 1970 UTC. Secrets are sealed with a key that is never in here; codes and passwords are derived, not kept.

CREATE TABLE plan (
    id                    INTEGER PRIMARY KEY NOT NULL,
    name                  TEXT    NOT NULL UNIQUE,
    quota_octets          INTEGER,
    period                TEXT    NOT NULL CHECK (period IN ('day', 'week', 'month', 'once')),
    time_zone             TEXT    NOT NULL,
    down_bits_per_sec     INTEGER,
    up_bits_per_sec       INTEGER,
    session_secs          INTEGER,
    idle_secs             INTEGER,
    max_devices           INTEGER NOT NULL CHECK (max_devices > 0),
    remembered_days       INTEGER NOT NULL CHECK (remembered_days >= 0),
    throttle_bits_per_sec INTEGER, -- NULL: the session ends with the quota
    filter                TEXT,    -- name of a filter of the gateways; NULL: none
    class                 TEXT,    -- name of a shaping class of the gateways; NULL: none
    is_retired            INTEGER NOT NULL DEFAULT FALSE CHECK (is_retired IN (0, 1)) -- ended by an administrator; history refers to it
) STRICT;

CREATE TABLE site (
    id      INTEGER PRIMARY KEY NOT NULL,
    name    TEXT    NOT NULL UNIQUE,
    is_open INTEGER NOT NULL CHECK (is_open IN (0, 1)),
    plan_id INTEGER NOT NULL REFERENCES plan (id),
    is_retired INTEGER NOT NULL DEFAULT FALSE CHECK (is_retired IN (0, 1)) -- ended by an administrator; history refers to it
) STRICT;

CREATE TABLE nas (
    id                INTEGER PRIMARY KEY NOT NULL,
    site_id           INTEGER NOT NULL REFERENCES site (id),
    name              TEXT    NOT NULL UNIQUE, -- NAS-Identifier
    source            TEXT    NOT NULL,        -- CIDR its requests come from
    secret_sealed     BLOB    NOT NULL,
    uam_secret_sealed BLOB    NOT NULL,
    coa_port          INTEGER NOT NULL,
    coa_host          TEXT,                    -- NULL: where its requests come from
    profile           TEXT    NOT NULL,        -- its vendor's, by which it is spoken to
    is_renewing       INTEGER NOT NULL CHECK (is_renewing IN (0, 1)), -- shares a quota by Chargeable-User-Identity, and asks again
    old_secret_sealed BLOB,                    -- valid besides until old_secret_until
    old_secret_until  INTEGER,
    unsigned_until    INTEGER,                 -- until then its Access-Requests may lack Message-Authenticator
    is_ms_chap_allowed INTEGER NOT NULL DEFAULT FALSE CHECK (is_ms_chap_allowed IN (0, 1)), -- whoever is at this gate may prove their code by MS-CHAPv2
    certificate_name  TEXT,                  -- in its TLS certificate: DNS name, URI or sha256:…
    last_seen_address TEXT,
    last_seen_at      INTEGER,
    is_retired        INTEGER NOT NULL DEFAULT FALSE CHECK (is_retired IN (0, 1)) -- ended by an administrator; history refers to it
) STRICT;
CREATE UNIQUE INDEX nas_by_certificate_name ON nas (certificate_name) WHERE is_retired = FALSE;

CREATE TABLE subscriber (
    id          INTEGER PRIMARY KEY NOT NULL,
    number      TEXT    NOT NULL UNIQUE,
    alias       TEXT    NOT NULL UNIQUE, -- User-Name in accounting and Chargeable-User-Identity: opaque
    plan_id     INTEGER REFERENCES plan (id), -- NULL: the site's
    is_blocked  INTEGER NOT NULL DEFAULT FALSE CHECK (is_blocked IN (0, 1)),
    language    TEXT    NOT NULL,
    consent_at  INTEGER,
    totp_sealed BLOB,
    holder      INTEGER, -- of what is remembered about them in memory
    totp_last_step INTEGER, -- of the last authenticator code accepted
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE device (
    id               INTEGER PRIMARY KEY NOT NULL,
    subscriber_id    INTEGER NOT NULL REFERENCES subscriber (id),
    mac              BLOB    NOT NULL,
    remembered_until INTEGER,
    is_paused        INTEGER NOT NULL DEFAULT FALSE CHECK (is_paused IN (0, 1)), -- its owner disconnected it
    last_seen_at     INTEGER NOT NULL,
    UNIQUE (subscriber_id, mac)
) STRICT;
CREATE INDEX device_by_mac ON device (mac);

CREATE TABLE challenge (
    id         INTEGER PRIMARY KEY NOT NULL,
    public_id  BLOB    NOT NULL UNIQUE, -- the code's secret derives from it and the master key
    nas_id     INTEGER NOT NULL REFERENCES nas (id),
    site_id    INTEGER NOT NULL REFERENCES site (id),
    mac        BLOB    NOT NULL,
    ip         TEXT    NOT NULL,
    number     TEXT    NOT NULL,
    language   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    resend_at  INTEGER NOT NULL,
    tries_left INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('pending', 'verified', 'spent', 'superseded'))
) STRICT;
CREATE INDEX challenge_by_device ON challenge (site_id, mac, id);
CREATE INDEX challenge_by_number ON challenge (number, id);
CREATE INDEX challenge_by_expiry ON challenge (expires_at);

CREATE TABLE sms_outbox (
    id           INTEGER PRIMARY KEY NOT NULL,
    challenge_id INTEGER NOT NULL REFERENCES challenge (id) ON DELETE CASCADE,
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_at      INTEGER, -- NULL: sent or given up
    sent_at      INTEGER,
    result       TEXT
) STRICT;
CREATE INDEX sms_outbox_by_challenge ON sms_outbox (challenge_id);
CREATE INDEX sms_outbox_due ON sms_outbox (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE attempt (
    kind TEXT    NOT NULL,
    key  BLOB    NOT NULL, -- hashed
    at   INTEGER NOT NULL
) STRICT;
CREATE INDEX attempt_by_key ON attempt (kind, key, at);
CREATE INDEX attempt_by_time ON attempt (at);

CREATE TABLE ticket (
    public_id     BLOB    PRIMARY KEY NOT NULL, -- the password derives from it and the master key
    subscriber_id INTEGER NOT NULL REFERENCES subscriber (id),
    nas_id        INTEGER NOT NULL REFERENCES nas (id),
    mac           BLOB    NOT NULL,
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER
) STRICT;
CREATE INDEX ticket_by_expiry ON ticket (expires_at);

-- Of the tables that every login writes, nothing refers to another by a constraint: each would be a look-up, and on PostgreSQL a lock in the
-- other table, for every row. Nothing is ever deleted from them or from what they refer to, and rows are written with their
-- subscriber held.
CREATE TABLE entitlement (
    id               INTEGER PRIMARY KEY NOT NULL,
    subscriber_id    INTEGER NOT NULL,
    plan_id          INTEGER NOT NULL,
    window_start     INTEGER NOT NULL,
    window_end       INTEGER, -- NULL: never
    topped_up_octets INTEGER NOT NULL DEFAULT 0 CHECK (topped_up_octets >= 0),
    used_octets      INTEGER NOT NULL DEFAULT 0 CHECK (used_octets >= 0),
    UNIQUE (subscriber_id, plan_id, window_start)
) STRICT;

CREATE TABLE lease (
    id             INTEGER PRIMARY KEY NOT NULL,
    subscriber_id  INTEGER NOT NULL,
    entitlement_id INTEGER NOT NULL,
    nas_id         INTEGER NOT NULL,
    is_shared      INTEGER NOT NULL CHECK (is_shared IN (0, 1)), -- by the subscriber's sessions at this NAS
    prior_id       INTEGER, -- a lease before it, whose rest the NAS may still let through
    granted_octets INTEGER NOT NULL CHECK (granted_octets >= 0),
    used_octets    INTEGER NOT NULL DEFAULT 0 CHECK (used_octets >= 0),
    is_closed      INTEGER NOT NULL DEFAULT FALSE CHECK (is_closed IN (0, 1))
) STRICT;
CREATE INDEX lease_open_of_subscriber ON lease (subscriber_id) WHERE is_closed = FALSE;

CREATE TABLE session (
    id                INTEGER PRIMARY KEY NOT NULL,
    class             BLOB    NOT NULL, -- has the id in it
    subscriber_id     INTEGER NOT NULL,
    entitlement_id    INTEGER NOT NULL,
    lease_id          INTEGER, -- NULL: not metered against a quota
    nas_id            INTEGER NOT NULL,
    site_id           INTEGER NOT NULL,
    acct_session_id   TEXT,
    mac               BLOB,
    ip                TEXT,
    state             TEXT    NOT NULL CHECK (state IN ('granted', 'open', 'ended')),
    is_renewable      INTEGER NOT NULL CHECK (is_renewable IN (0, 1)), -- the gate shares a quota and asks again
    is_throttled      INTEGER NOT NULL CHECK (is_throttled IN (0, 1)),
    granted_at        INTEGER NOT NULL,
    started_at        INTEGER,
    reported_at       INTEGER, -- the gate's time of its furthest report
    heard_at          INTEGER NOT NULL, -- our time of its last report or request
    heard_from        TEXT, -- where that came from, at a record that stands for a network of gates: orders go there
    ends_at           INTEGER,
    ended_at          INTEGER CHECK ((ended_at IS NULL) = (state <> 'ended')),
    terminate_cause   INTEGER,
    is_presumed_ended INTEGER NOT NULL DEFAULT FALSE CHECK (is_presumed_ended IN (0, 1)), -- it fell silent
    granted_octets    INTEGER NOT NULL, -- cumulative from the session's start
    pending_octets    INTEGER NOT NULL DEFAULT 0, -- used of entitlement and lease beyond what they say themselves; none once ended
    up_octets         INTEGER NOT NULL DEFAULT 0,
    down_octets       INTEGER NOT NULL DEFAULT 0,
    base_up_octets    INTEGER NOT NULL DEFAULT 0, -- before the gate's counters last began at zero
    base_down_octets  INTEGER NOT NULL DEFAULT 0,
    up_packets        INTEGER NOT NULL DEFAULT 0,
    down_packets      INTEGER NOT NULL DEFAULT 0,
    session_secs      INTEGER NOT NULL DEFAULT 0,
    is_wide           INTEGER NOT NULL DEFAULT 0 CHECK (is_wide IN (0, 1)), -- the gate told them: its counters do not wrap
    order_action      TEXT CHECK (order_action IN ('end', 'change')), -- what the gate is yet to obey
    order_number      INTEGER NOT NULL DEFAULT 0, -- counts orders: an answer to an older one settles nothing
    order_attempts    INTEGER NOT NULL DEFAULT 0,
    order_next_at     INTEGER,
    trouble           TEXT
) STRICT;
-- What is live and what is over have indexes of their own, so that a session's end writes few: most of the work of a login. None has the
-- state in it: where no column of an index changes, PostgreSQL leaves them all alone.
-- A gate may use an Acct-Session-Id again after a restart, but never for two live sessions.
CREATE INDEX session_live_of_subscriber ON session (subscriber_id) WHERE ended_at IS NULL;
CREATE INDEX session_ended_of_subscriber ON session (subscriber_id, granted_at) WHERE ended_at IS NOT NULL;
CREATE INDEX session_ordered ON session (order_next_at) WHERE order_action IS NOT NULL;

-- What a gate was told and tells of a session beyond what every gate does; the public ports are the present ones, session_ports has all.
CREATE TABLE session_vendor (
    session_id        INTEGER PRIMARY KEY NOT NULL,
    max_total_octets  INTEGER,
    up_bits_per_sec   INTEGER,
    down_bits_per_sec INTEGER,
    session_secs      INTEGER,
    idle_secs         INTEGER,
    user_name         TEXT, -- by which the gate reports it
    handle            TEXT, -- the gate's own name for it, by which it takes orders
    nas_identifier    TEXT, -- as the gate calls itself, where it takes orders by it
    nas_ip            TEXT, -- likewise
    called_station_id TEXT, -- likewise
    ssid              TEXT,
    access_point      TEXT,
    public_ip         TEXT, -- by which the internet sees the device, with the ports that are its alone
    first_port        INTEGER,
    last_port         INTEGER,
    free_up_octets    INTEGER, -- moved free of charge, beside the session's meters
    free_down_octets  INTEGER,
    asked_at          INTEGER -- for it, without an Acct-Session-Id; NULL once the session of that was heard of
) STRICT;

-- How the internet saw a session's device, and when: whose a connection was is asked long afterwards.
CREATE TABLE session_ports (
    id         INTEGER PRIMARY KEY NOT NULL,
    session_id INTEGER NOT NULL,
    public_ip  TEXT NOT NULL,
    first_port INTEGER NOT NULL,
    last_port  INTEGER NOT NULL,
    since_at   INTEGER NOT NULL,
    until_at   INTEGER -- NULL: it still does, or did to the session's end
) STRICT;
CREATE INDEX session_ports_behind ON session_ports (public_ip, first_port, since_at);
CREATE INDEX session_ports_open ON session_ports (session_id) WHERE until_at IS NULL;

CREATE TABLE voucher (
    id           INTEGER PRIMARY KEY NOT NULL,
    code_hash    BLOB    NOT NULL UNIQUE, -- keyed with the master key
    label        TEXT    NOT NULL,
    octets       INTEGER, -- added to the present period
    plan_id      INTEGER REFERENCES plan (id), -- becomes the subscriber's
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    used_at      INTEGER,
    used_by      INTEGER REFERENCES subscriber (id)
) STRICT;
CREATE INDEX voucher_by_label ON voucher (label, id);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (at);

CREATE TABLE unknown_report (
    id              INTEGER PRIMARY KEY NOT NULL,
    nas_id          INTEGER NOT NULL REFERENCES nas (id),
    acct_session_id TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    received_at     INTEGER NOT NULL,
    class           BLOB,
    user_name       TEXT,
    mac             BLOB,
    ip              TEXT,
    up_octets       INTEGER NOT NULL,
    down_octets     INTEGER NOT NULL,
    session_secs    INTEGER NOT NULL,
    UNIQUE (nas_id, acct_session_id, kind, at)
) STRICT;
CREATE INDEX unknown_report_by_nas ON unknown_report (nas_id, id);
CREATE INDEX unknown_report_by_time ON unknown_report (received_at);

-- Something sealed with the master key, to tell it from any other. One row.
CREATE TABLE seal_check (
    id     INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    sealed BLOB    NOT NULL
) STRICT;

-- Counts changes of plans, sites and gates, so that others know when to read them again. One row.
CREATE TABLE revision (
    id     INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    places INTEGER NOT NULL
);
INSERT INTO revision (id, places) VALUES (1, 0);
