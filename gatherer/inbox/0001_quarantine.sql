-- The quarantine: requests whose authentication failed, stored until the operator releases or discards them.
-- Only `gatherer serve` writes this file, or `gatherer quarantine` while `serve` is stopped. It is never gathered.

CREATE TABLE quarantine (         -- one row
    created_at INTEGER NOT NULL,  -- milliseconds since 1970, UTC
    file_token TEXT NOT NULL,     -- random; changed by each start of `serve`
    probed_at  INTEGER            -- time of the last test commit: at the start, and after a failure of the disk
);

INSERT INTO quarantine (created_at, file_token)
VALUES (CAST(strftime('%s', 'now') AS INTEGER) * 1000, lower(hex(randomblob(16))));

CREATE TABLE request (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascending, never used twice
    received_at    INTEGER NOT NULL,  -- milliseconds since 1970, UTC
    endpoint       TEXT NOT NULL,
    provider       TEXT NOT NULL,
    remote         TEXT,              -- address of the client
    content_type   TEXT,
    headers        TEXT,              -- as in the inbox: JSON object of the stored headers (signatures)
    body           BLOB NOT NULL,     -- byte for byte as received
    failed         TEXT NOT NULL,     -- which check failed
    authentication TEXT NOT NULL      -- JSON list: names and forms of the credentials in the request, no values
);
