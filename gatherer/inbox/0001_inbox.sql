-- The inbox: an append-only log of notifications, in order of arrival.
-- Only `gatherer serve` writes this file; every other command opens it read-only.

CREATE TABLE inbox (                           -- one row
    identity      TEXT NOT NULL,               -- random; a position in the target belongs to one identity
    created_at    INTEGER NOT NULL,            -- milliseconds since 1970, UTC
    file_token    TEXT NOT NULL,               -- random; changed by each start of `serve`: file_token.py says why
    probed_at     INTEGER,                     -- time of the last test commit: at the start, and after a failure of the disk
    purged_to     INTEGER NOT NULL DEFAULT 0,  -- highest id that was purged; every lower id was purged as well
    purged_unread INTEGER NOT NULL DEFAULT 0   -- number of notifications purged before every consumer had acknowledged them
);

INSERT INTO inbox (identity, created_at, file_token)
VALUES (
    lower(hex(randomblob(16))), CAST(strftime('%s', 'now') AS INTEGER) * 1000, lower(hex(randomblob(16)))
);

CREATE TABLE notification (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascending, never used twice
    received_at     INTEGER NOT NULL,  -- milliseconds since 1970, UTC
    endpoint        TEXT NOT NULL,
    provider        TEXT NOT NULL,
    remote          TEXT,              -- address of the client
    content_type    TEXT,
    headers         TEXT,              -- JSON object of the stored headers (signatures)
    body            BLOB NOT NULL,     -- byte for byte as received, unless a person was erased from it
    received_digest BLOB               -- digest of the notification as received, once a person was erased from it
);
