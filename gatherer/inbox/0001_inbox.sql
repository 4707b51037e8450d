-- The inbox: an append-only log of notifications, in order of arrival.
-- Only `gatherer serve` writes this file; everything else opens it read-only.

CREATE TABLE inbox (              -- one row
    identity      TEXT NOT NULL,               -- random; a position in the target belongs to one identity
    created_at    INTEGER NOT NULL,            -- milliseconds since 1970, UTC
    probed_at     INTEGER,                     -- last test commit: at the start, and after a failure of the disk
    purged_to     INTEGER NOT NULL DEFAULT 0,  -- highest id that was purged; all below it are gone as well
    purged_unread INTEGER NOT NULL DEFAULT 0   -- how many were purged that some consumer had not acknowledged
);

INSERT INTO inbox (identity, created_at)
VALUES (lower(hex(randomblob(16))), CAST(strftime('%s', 'now') AS INTEGER) * 1000);

CREATE TABLE notification (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascending, never used twice
    received_at  INTEGER NOT NULL,  -- milliseconds since 1970, UTC
    endpoint     TEXT NOT NULL,
    provider     TEXT NOT NULL,
    remote       TEXT,
    content_type TEXT,
    headers      TEXT,              -- JSON object of the headers kept (signatures)
    body         BLOB NOT NULL      -- byte for byte as received
);
