-- What is not kept for ever: the text of old answers, old rows, and people who asked to be erased.

-- When what the person wrote was removed, because it had become too old. It is never filled again.
ALTER TABLE response ADD COLUMN blanked_at TEXT;

-- What is left of an erased person: enough to know them again, not to find out who they were.
CREATE TABLE tombstone (
    identifier BLOB NOT NULL PRIMARY KEY,  -- 32 bytes: the keyed hash of a phone number, user id or message id
    scope      TEXT NOT NULL,              -- person: what occurred up to erased_at is erased; message: all about it
    erased_at  TEXT NOT NULL,
    key_id     TEXT NOT NULL               -- which key it was hashed with
) WITHOUT ROWID;

-- One erasure: an account of it without the person.
CREATE TABLE erasure (
    id            INTEGER PRIMARY KEY,
    erased_at     TEXT NOT NULL,
    host          TEXT NOT NULL,
    account       TEXT NOT NULL,     -- of the operating system, that ran the command
    version       TEXT NOT NULL,
    reference     TEXT,              -- what the person who did it calls it
    identifiers   INTEGER NOT NULL,  -- phone numbers and user ids
    notifications INTEGER NOT NULL,  -- taken out of inboxes, or freed of what they said about the person
    responses     INTEGER NOT NULL,  -- rows removed, and so are
    other_rows    INTEGER NOT NULL   -- those of other tables
);

-- A run looks for what is too old, and mostly finds nothing: without these it would read everything each time.
CREATE INDEX response_occurred ON response (occurred_at);
CREATE INDEX response_kept ON response (occurred_at) WHERE blanked_at IS NULL AND kind IN (
    'reacted', 'replied', 'edited', 'revoked', 'opted_out', 'opted_in', 'clicked', 'reply_marker'
);
CREATE INDEX template_event_occurred ON template_event (occurred_at);
CREATE INDEX flow_event_occurred ON flow_event (occurred_at);
CREATE INDEX account_event_occurred ON account_event (occurred_at);
CREATE INDEX other_event_occurred ON other_event (occurred_at);
CREATE INDEX rejected_received ON rejected (received_at);
CREATE INDEX rejected_body ON rejected (body_key);
