-- The tables of the embedded target. SQL Server has the same tables, columns and views, so that a report written for
-- one works on the other. All times are UTC as 'YYYY-MM-DD HH:MM:SS.mmm'.

-- One response: a receipt (sent, delivered, read, failed, …) or an answer (replied, reacted, …).
CREATE TABLE response (
    id                  INTEGER PRIMARY KEY,
    key                 BLOB NOT NULL,    -- the same for every delivery of one fact
    provider            TEXT NOT NULL,
    endpoint            TEXT NOT NULL,    -- the endpoint that received it first
    inbox_id            TEXT NOT NULL,    -- the inbox that it was received in first
    notification_id     INTEGER NOT NULL, -- the notification in that inbox
    received_at         TEXT NOT NULL,    -- when that endpoint received it
    occurred_at         TEXT NOT NULL,    -- when it happened
    occurred_at_source  TEXT NOT NULL,    -- what gave that time: element, entry or receipt
    account_id          TEXT,
    is_test             INTEGER NOT NULL, -- 1: dashboard tests and simulated traffic
    kind                TEXT NOT NULL,
    message_id          TEXT,             -- receipts: our message; answers: the person's own
    provider_message_id TEXT,             -- the provider's own id of that message, where message_id is WhatsApp's
    about_message_id    TEXT,             -- answers: the message reacted or replied to
    phone               TEXT,             -- the person, E.164; NULL where WhatsApp withholds it
    phone_raw           TEXT,             -- the digits as received
    user_id             TEXT,             -- the person's business-scoped user id
    phone_number_id     TEXT,             -- our number's id at the provider
    business_phone      TEXT,             -- our number, E.164
    client_reference    TEXT,             -- what the sender attached to our message
    profile_name        TEXT,
    group_id            TEXT,
    emoji               TEXT,             -- '' = taken back; NULL = none, or unreadable
    reply_type          TEXT,             -- text, button, list, flow, image, …
    reply_text          TEXT,
    reply_payload       TEXT,             -- button id; Flow answers: the response_json verbatim
    media_id            TEXT,
    media_type          TEXT,
    error_code          INTEGER,
    error_title         TEXT,
    error_details       TEXT,
    errors              TEXT,             -- all errors as JSON
    pricing_category    TEXT,
    pricing_model       TEXT,
    pricing_type        TEXT,
    billable            INTEGER,
    details             TEXT,             -- JSON: what else the element said
    inserted_at         TEXT NOT NULL,
    changed_at          TEXT NOT NULL,    -- when the row was written last
    commit_number       INTEGER NOT NULL, -- the transaction that wrote the row last; exports go by it
    blanked_at          TEXT,             -- when the text of an old answer was removed; it is never filled again
    told_commit_number  INTEGER,          -- of a row that was blanked last: its commit_number before that
    original_message_id TEXT,             -- the provider's id, where a pair has put WhatsApp's into message_id
    original_about_id   TEXT              -- the same for about_message_id
);
CREATE UNIQUE INDEX response_key ON response (key);
CREATE INDEX response_message ON response (message_id);
CREATE INDEX response_provider_message ON response (provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX response_about ON response (about_message_id) WHERE about_message_id IS NOT NULL;
CREATE INDEX response_original_message ON response (original_message_id) WHERE original_message_id IS NOT NULL;
CREATE INDEX response_original_about ON response (original_about_id) WHERE original_about_id IS NOT NULL;
CREATE INDEX response_commit ON response (commit_number);
CREATE INDEX response_occurred ON response (occurred_at);
CREATE INDEX response_test ON response (id) WHERE is_test = 1;
-- For `[target] keep_days`: a run finds old texts without reading the whole table.
CREATE INDEX response_kept ON response (occurred_at) WHERE blanked_at IS NULL AND kind IN (
    'reacted', 'replied', 'edited', 'revoked', 'opted_out', 'opted_in', 'clicked', 'reply_marker'
);

-- One notice about a message template: status, quality, category or content.
CREATE TABLE template_event (
    id                 INTEGER PRIMARY KEY,
    key                BLOB NOT NULL,     -- the same for every delivery of one fact
    provider           TEXT NOT NULL,
    endpoint           TEXT NOT NULL,     -- the endpoint that received it first
    inbox_id           TEXT NOT NULL,     -- the inbox that it was received in first
    notification_id    INTEGER NOT NULL,  -- the notification in that inbox
    received_at        TEXT NOT NULL,     -- when that endpoint received it
    occurred_at        TEXT NOT NULL,     -- when it happened
    occurred_at_source TEXT NOT NULL,     -- what gave that time: element, entry or receipt
    account_id         TEXT,
    is_test            INTEGER NOT NULL,  -- 1: dashboard tests and simulated traffic
    field              TEXT NOT NULL,
    event              TEXT,
    template_id        TEXT,
    template_name      TEXT,
    template_language  TEXT,
    template_category  TEXT,
    reason             TEXT,
    old_value          TEXT,
    new_value          TEXT,
    details            TEXT,
    inserted_at        TEXT NOT NULL,
    changed_at         TEXT NOT NULL,     -- when the row was written last
    commit_number      INTEGER NOT NULL   -- the transaction that wrote the row last; steps of [[after_run]] go by it
);
CREATE UNIQUE INDEX template_event_key ON template_event (key);
CREATE INDEX template_event_commit ON template_event (commit_number);
CREATE INDEX template_event_occurred ON template_event (occurred_at);

-- One notice about a Flow: a change of status, or an alert with its figures.
CREATE TABLE flow_event (
    id                 INTEGER PRIMARY KEY,
    key                BLOB NOT NULL,     -- the same for every delivery of one fact
    provider           TEXT NOT NULL,
    endpoint           TEXT NOT NULL,     -- the endpoint that received it first
    inbox_id           TEXT NOT NULL,     -- the inbox that it was received in first
    notification_id    INTEGER NOT NULL,  -- the notification in that inbox
    received_at        TEXT NOT NULL,     -- when that endpoint received it
    occurred_at        TEXT NOT NULL,     -- when it happened
    occurred_at_source TEXT NOT NULL,     -- what gave that time: element, entry or receipt
    account_id         TEXT,
    is_test            INTEGER NOT NULL,  -- 1: dashboard tests and simulated traffic
    event              TEXT,
    flow_id            TEXT,
    message            TEXT,
    old_status         TEXT,
    new_status         TEXT,
    alert_state        TEXT,
    threshold          REAL,
    error_rate         REAL,
    availability       REAL,
    p50_latency_ms     REAL,
    p90_latency_ms     REAL,
    requests_count     INTEGER,
    errors             TEXT,
    warning            TEXT,
    details            TEXT,
    inserted_at        TEXT NOT NULL,
    changed_at         TEXT NOT NULL,     -- when the row was written last
    commit_number      INTEGER NOT NULL   -- the transaction that wrote the row last; steps of [[after_run]] go by it
);
CREATE UNIQUE INDEX flow_event_key ON flow_event (key);
CREATE INDEX flow_event_commit ON flow_event (commit_number);
CREATE INDEX flow_event_occurred ON flow_event (occurred_at);

-- One notice about our account, one of our numbers, or what we may do with them.
CREATE TABLE account_event (
    id                 INTEGER PRIMARY KEY,
    key                BLOB NOT NULL,     -- the same for every delivery of one fact
    provider           TEXT NOT NULL,
    endpoint           TEXT NOT NULL,     -- the endpoint that received it first
    inbox_id           TEXT NOT NULL,     -- the inbox that it was received in first
    notification_id    INTEGER NOT NULL,  -- the notification in that inbox
    received_at        TEXT NOT NULL,     -- when that endpoint received it
    occurred_at        TEXT NOT NULL,     -- when it happened
    occurred_at_source TEXT NOT NULL,     -- what gave that time: element, entry or receipt
    account_id         TEXT,
    is_test            INTEGER NOT NULL,  -- 1: dashboard tests and simulated traffic
    field              TEXT NOT NULL,
    event              TEXT,
    entity_type        TEXT,
    entity_id          TEXT,
    business_phone     TEXT,
    severity           TEXT,
    old_value          TEXT,
    new_value          TEXT,
    reason             TEXT,
    details            TEXT,
    inserted_at        TEXT NOT NULL,
    changed_at         TEXT NOT NULL,     -- when the row was written last
    commit_number      INTEGER NOT NULL   -- the transaction that wrote the row last; steps of [[after_run]] go by it
);
CREATE UNIQUE INDEX account_event_key ON account_event (key);
CREATE INDEX account_event_commit ON account_event (commit_number);
CREATE INDEX account_event_occurred ON account_event (occurred_at);

-- One element that is real but not modelled, kept whole.
CREATE TABLE other_event (
    id                 INTEGER PRIMARY KEY,
    key                BLOB NOT NULL,     -- the same for every delivery of one fact
    provider           TEXT NOT NULL,
    endpoint           TEXT NOT NULL,     -- the endpoint that received it first
    inbox_id           TEXT NOT NULL,     -- the inbox that it was received in first
    notification_id    INTEGER NOT NULL,  -- the notification in that inbox
    received_at        TEXT NOT NULL,     -- when that endpoint received it
    occurred_at        TEXT NOT NULL,     -- when it happened
    occurred_at_source TEXT NOT NULL,     -- what gave that time: element, entry or receipt
    account_id         TEXT,
    is_test            INTEGER NOT NULL,  -- 1: dashboard tests and simulated traffic
    family             TEXT NOT NULL,
    name               TEXT,
    message_id         TEXT,
    phone              TEXT,
    user_id            TEXT,
    details            TEXT,
    inserted_at        TEXT NOT NULL,
    changed_at         TEXT NOT NULL,     -- when the row was written last
    commit_number      INTEGER NOT NULL   -- the transaction that wrote the row last; steps of [[after_run]] go by it
);
CREATE UNIQUE INDEX other_event_key ON other_event (key);
CREATE INDEX other_event_commit ON other_event (commit_number);
CREATE INDEX other_event_deleted ON other_event (message_id) WHERE family = 'statuses' AND name = 'deleted';
CREATE INDEX other_event_occurred ON other_event (occurred_at);

-- Two ids of one message: a response had both. In all responses, WhatsApp's id takes the place of the provider's.
CREATE TABLE message_id_pair (
    id                  INTEGER PRIMARY KEY,
    key                 BLOB NOT NULL,    -- the same for every delivery of one fact
    provider            TEXT NOT NULL,
    endpoint            TEXT NOT NULL,    -- the endpoint that received it first
    inbox_id            TEXT NOT NULL,    -- the inbox that it was received in first
    notification_id     INTEGER NOT NULL, -- the notification in that inbox
    received_at         TEXT NOT NULL,    -- when that endpoint received it
    occurred_at         TEXT NOT NULL,    -- when it happened
    occurred_at_source  TEXT NOT NULL,    -- what gave that time: element, entry or receipt
    account_id          TEXT,
    is_test             INTEGER NOT NULL, -- 1: dashboard tests and simulated traffic
    provider_message_id TEXT NOT NULL,    -- the provider's own id
    message_id          TEXT NOT NULL,    -- WhatsApp's id
    inserted_at         TEXT NOT NULL,
    changed_at          TEXT NOT NULL,    -- when the row was written last
    commit_number       INTEGER NOT NULL  -- the transaction that wrote the row last
);
CREATE UNIQUE INDEX message_id_pair_key ON message_id_pair (key);
CREATE INDEX message_id_pair_provider ON message_id_pair (provider_message_id, message_id);
CREATE INDEX message_id_pair_message ON message_id_pair (message_id);
CREATE INDEX message_id_pair_commit ON message_id_pair (commit_number);
CREATE INDEX message_id_pair_occurred ON message_id_pair (occurred_at);

-- One element or notification that was rejected, and why. rejected_notification has its body.
CREATE TABLE rejected (
    id              INTEGER PRIMARY KEY,
    key             BLOB NOT NULL,     -- over provider, path, class of reason and bytes
    provider        TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    inbox_id        TEXT NOT NULL,
    notification_id INTEGER NOT NULL,
    received_at     TEXT NOT NULL,
    path            TEXT NOT NULL,     -- JSON path of the element; $ is the whole body
    reason_class    TEXT NOT NULL,
    reason          TEXT NOT NULL,
    body_key        BLOB NOT NULL,
    inserted_at     TEXT NOT NULL,
    resolved_at     TEXT               -- when a later success resolved it
);
CREATE UNIQUE INDEX rejected_key ON rejected (key);
CREATE INDEX rejected_open ON rejected (body_key) WHERE resolved_at IS NULL;
CREATE INDEX rejected_received ON rejected (received_at);
CREATE INDEX rejected_body ON rejected (body_key);

CREATE TABLE rejected_notification (
    body_key     BLOB NOT NULL PRIMARY KEY,
    content_type TEXT,
    body         BLOB NOT NULL         -- byte for byte as received
) WITHOUT ROWID;

-- One more notification that told the fact of a row, beside the one that the row names. `gatherer replay --rebuild`
-- makes a row anew from all of them.
CREATE TABLE contributor (
    key             BLOB NOT NULL,     -- of the row
    inbox_id        TEXT NOT NULL,
    notification_id INTEGER NOT NULL,  -- in that inbox
    PRIMARY KEY (key, inbox_id, notification_id)
) WITHOUT ROWID;
CREATE INDEX contributor_notification ON contributor (inbox_id, notification_id);

-- Contributors go with their row. A trigger of updates would make each upsert a fifth slower, also where all rows are new.
CREATE TRIGGER response_deleted AFTER DELETE ON response
BEGIN
    DELETE FROM contributor WHERE key = old.key;
END;

CREATE TRIGGER template_event_deleted AFTER DELETE ON template_event
BEGIN
    DELETE FROM contributor WHERE key = old.key;
END;

CREATE TRIGGER flow_event_deleted AFTER DELETE ON flow_event
BEGIN
    DELETE FROM contributor WHERE key = old.key;
END;

CREATE TRIGGER account_event_deleted AFTER DELETE ON account_event
BEGIN
    DELETE FROM contributor WHERE key = old.key;
END;

CREATE TRIGGER other_event_deleted AFTER DELETE ON other_event
BEGIN
    DELETE FROM contributor WHERE key = old.key;
END;

CREATE TRIGGER message_id_pair_deleted AFTER DELETE ON message_id_pair
BEGIN
    DELETE FROM contributor WHERE key = old.key;
END;

CREATE TRIGGER rejected_deleted AFTER DELETE ON rejected
BEGIN
    DELETE FROM contributor WHERE key = old.key;
END;

-- The last notification of each inbox that was gathered; written in the same transaction as the rows.
CREATE TABLE inbox_position (
    inbox_id        TEXT NOT NULL PRIMARY KEY,
    notification_id INTEGER NOT NULL,
    digest          BLOB NOT NULL,     -- of that notification
    changed_at      TEXT NOT NULL
) WITHOUT ROWID;

-- One run of `gatherer gather` over one inbox, or one step after it.
CREATE TABLE gather_run (
    id          INTEGER PRIMARY KEY,
    started_at  TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    host        TEXT NOT NULL,
    version     TEXT NOT NULL,
    inbox_id    TEXT NOT NULL,
    read        INTEGER NOT NULL,
    inserted    INTEGER NOT NULL,
    filled      INTEGER NOT NULL,
    duplicates  INTEGER NOT NULL,
    rejected    INTEGER NOT NULL,
    exit_code   INTEGER NOT NULL,
    problem     TEXT,
    step        TEXT,              -- NULL, or the step of [[after_run]] that this row is about
    last_line   TEXT,              -- of the output of the step
    times_ahead INTEGER NOT NULL,  -- responses whose stated time is so far ahead of the receipt that it is not used
    purged_unread INTEGER NOT NULL,  -- notifications that the inbox purged before this target had read them
    missing     INTEGER NOT NULL   -- notifications that the inbox does not hold and did not purge
);

-- Filled by the site: which campaign, communication and person a message belongs to. Rows may come
-- before or after the responses.
CREATE TABLE message_map (
    id                INTEGER PRIMARY KEY,
    message_id        TEXT,             -- as the send call returned it, and/or
    client_reference  TEXT,             -- as attached to the message
    campaign          TEXT NOT NULL,
    communication_key TEXT,
    urn               TEXT,
    phone             TEXT,             -- sent to, E.164
    business_phone    TEXT,             -- sent from, E.164
    message_name      TEXT,
    sent_at           TEXT,
    inserted_at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
CREATE UNIQUE INDEX message_map_message ON message_map (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX message_map_reference ON message_map (client_reference) WHERE client_reference IS NOT NULL;
CREATE INDEX message_map_phone ON message_map (phone, sent_at) WHERE phone IS NOT NULL;
-- For `gatherer map`: messages by time of sending, and rows that name no message.
CREATE INDEX message_map_sent ON message_map (sent_at, inserted_at);
CREATE INDEX message_map_unbound ON message_map (phone, sent_at) WHERE message_id IS NULL AND client_reference IS NULL;

-- When each row of message_map was written last, as a number of commit_sequence. The triggers see every program that
-- writes the map. An outer INSERT OR IGNORE would apply to an INSERT OR REPLACE in a trigger: hence DELETE and INSERT.
CREATE TABLE message_map_change (
    map_id        INTEGER PRIMARY KEY,
    commit_number INTEGER NOT NULL
);
CREATE INDEX message_map_change_commit ON message_map_change (commit_number);
CREATE TRIGGER message_map_inserted AFTER INSERT ON message_map BEGIN
    UPDATE commit_sequence SET number = number + 1;
    DELETE FROM message_map_change WHERE map_id = new.id;
    INSERT INTO message_map_change (map_id, commit_number) SELECT new.id, number FROM commit_sequence;
END;
CREATE TRIGGER message_map_updated AFTER UPDATE ON message_map BEGIN
    UPDATE commit_sequence SET number = number + 1;
    DELETE FROM message_map_change WHERE map_id IN (old.id, new.id);
    INSERT INTO message_map_change (map_id, commit_number) SELECT new.id, number FROM commit_sequence;
END;
CREATE TRIGGER message_map_deleted AFTER DELETE ON message_map BEGIN
    DELETE FROM message_map_change WHERE map_id = old.id;
END;

-- One row: the number of the last transaction that wrote here. Transactions write one after the other, so that all
-- numbers up to a committed one are committed as well.
CREATE TABLE commit_sequence (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
);
INSERT INTO commit_sequence (id, number) VALUES (1, 0);

-- Up to where an export with --since-last, or a step of [[after_run]], has read.
CREATE TABLE export_cursor (
    kind          TEXT NOT NULL,    -- export or after-run
    name          TEXT NOT NULL,    -- of --since-last, or of the step
    commit_number INTEGER NOT NULL, -- of the tables of facts
    map_number    INTEGER NOT NULL, -- of message_map_change
    moved_at      TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- What stays of an erased person: enough to recognise the person's data, not to find out who it was.
CREATE TABLE tombstone (
    identifier BLOB NOT NULL PRIMARY KEY,  -- 32 bytes: the keyed hash of a phone number, user id or message id
    scope      TEXT NOT NULL,              -- person: what occurred up to erased_at is erased; message: all about it
    erased_at  TEXT NOT NULL,
    key_id     TEXT NOT NULL               -- the key of the hash
) WITHOUT ROWID;

-- One erasure, without data of the person.
CREATE TABLE erasure (
    id            INTEGER PRIMARY KEY,
    erased_at     TEXT NOT NULL,
    host          TEXT NOT NULL,
    account       TEXT NOT NULL,     -- of the operating system; it ran the command
    version       TEXT NOT NULL,
    reference     TEXT,              -- as the operator gave it
    identifiers   INTEGER NOT NULL,  -- phone numbers and user ids
    notifications INTEGER NOT NULL,  -- removed from inboxes, or redacted there
    responses     INTEGER NOT NULL,  -- rows removed
    other_rows    INTEGER NOT NULL   -- rows removed from other tables
);

-- Settings of the site that views need; a run writes them from [target] of the configuration. And the identity of this
-- database, which is its name as a consumer of an inbox.
CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO setting (name, value) VALUES ('attribution_hours', '72'), ('time_zone', 'UTC'),
    ('identity', lower(hex(randomblob(16))));

-- The site's time zone as intervals of UTC, half open, without gaps.
CREATE TABLE time_zone_offset (
    starts_at      TEXT NOT NULL PRIMARY KEY,
    ends_at        TEXT NOT NULL,
    offset_minutes INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO time_zone_offset VALUES ('0001-01-01 00:00:00.000', '9999-12-31 23:59:59.999', 0);
