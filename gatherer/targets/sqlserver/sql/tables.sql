-- The tables in SQL Server. The embedded target has the same tables, columns and views, so that a report written for
-- one works on the other. All times are UTC.
--
-- Run it under a login that may create tables: with `gatherer schema apply`, or with sqlcmd, which replaces
-- $(schema): sqlcmd -v schema=gatherer -i tables.sql (or take the output of `gatherer schema print`).
-- Running it again changes nothing.
--
-- Ids and words compare byte by byte (Latin1_General_BIN2): WhatsApp's ids differ in case alone. Columns for
-- people to read have the collation of the database. The clustered key counts up, so that new rows go to the
-- end of the table; `key` is the first 16 bytes of a SHA-256 over the ids that make a row the same fact.

SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
GO
IF SCHEMA_ID(N'$(schema)') IS NULL
    EXEC (N'CREATE SCHEMA [$(schema)]');
GO

-- The version of these tables and views. A gatherer that does not know version `required` must not write here.
-- views.sql inserts the row, as it runs last.
IF OBJECT_ID(N'$(schema).schema_version', N'U') IS NULL
CREATE TABLE $(schema).schema_version (
    number     int NOT NULL,
    required   int NOT NULL,
    applied_at datetime2(3) NOT NULL DEFAULT (SYSUTCDATETIME()),
    applied_by nvarchar(128) NOT NULL DEFAULT (SUSER_SNAME()),
    CONSTRAINT schema_version_pk PRIMARY KEY CLUSTERED (number)
);
GO

-- One response: a receipt (sent, delivered, read, failed, …) or an answer (replied, reacted, …).
IF OBJECT_ID(N'$(schema).response', N'U') IS NULL
CREATE TABLE $(schema).response (
    id                 bigint IDENTITY(1, 1) NOT NULL,
    [key]              binary(16) NOT NULL,  -- the same for every delivery of one fact
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- where it was received first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox and
    notification_id    bigint NOT NULL,  -- the notification it was received in first
    received_at        datetime2(3) NOT NULL,  -- when that was
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    kind               nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,
    message_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- receipts: our message; answers: the person's own
    about_message_id   nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- answers: the message reacted or replied to
    phone              nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- the person, E.164; NULL where WhatsApp withholds it
    phone_raw          nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the digits as received
    user_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the person's business-scoped user id
    phone_number_id    nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our number's id at the provider
    business_phone     nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- our number, E.164
    client_reference   nvarchar(850) COLLATE Latin1_General_BIN2 NULL,  -- what the sender attached to our message
    profile_name       nvarchar(max) NULL,
    group_id           nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    emoji              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- '' = taken back; NULL = none, or unreadable
    reply_type         nvarchar(100) COLLATE Latin1_General_BIN2 NULL,  -- text, button, list, flow, image, …
    reply_text         nvarchar(max) NULL,
    reply_payload      nvarchar(max) NULL,  -- button id; Flow answers: the response_json verbatim
    media_id           nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    media_type         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    error_code         bigint NULL,
    error_title        nvarchar(max) NULL,
    error_details      nvarchar(max) NULL,
    errors             nvarchar(max) NULL,  -- all errors as JSON
    pricing_category   nvarchar(100) COLLATE Latin1_General_BIN2 NULL,
    pricing_model      nvarchar(100) COLLATE Latin1_General_BIN2 NULL,
    pricing_type       nvarchar(100) COLLATE Latin1_General_BIN2 NULL,
    billable           bit NULL,
    details            nvarchar(max) NULL,  -- JSON: what else the element said
    inserted_at        datetime2(3) NOT NULL,
    changed_at         datetime2(3) NOT NULL,  -- for incremental readers
    blanked_at         datetime2(3) NULL,  -- when the text of an old answer was removed; it is never filled again
    CONSTRAINT response_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_key')
    CREATE UNIQUE INDEX response_key ON $(schema).response ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_message')
    CREATE INDEX response_message ON $(schema).response (message_id);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_about')
    CREATE INDEX response_about ON $(schema).response (about_message_id) WHERE about_message_id IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_phone')
    CREATE INDEX response_phone ON $(schema).response (phone, occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_occurred')
    CREATE INDEX response_occurred ON $(schema).response (occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_reference')
    CREATE INDEX response_reference ON $(schema).response (client_reference) WHERE client_reference IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_changed')
    CREATE INDEX response_changed ON $(schema).response (changed_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_notification')
    CREATE INDEX response_notification ON $(schema).response (notification_id);
-- For `[target] keep_days`: a run finds old texts without reading the whole table. SQL Server uses a filtered index for a
-- query only if the columns of the filter are in the index as well.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_kept')
    CREATE INDEX response_kept ON $(schema).response (occurred_at) INCLUDE (kind, blanked_at)
    WHERE blanked_at IS NULL AND kind IN (
        N'reacted', N'replied', N'edited', N'revoked', N'opted_out', N'opted_in', N'clicked', N'reply_marker'
    );
GO

-- One notice about a message template: status, quality, category or content.
IF OBJECT_ID(N'$(schema).template_event', N'U') IS NULL
CREATE TABLE $(schema).template_event (
    id                 bigint IDENTITY(1, 1) NOT NULL,
    [key]              binary(16) NOT NULL,  -- the same for every delivery of one fact
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- where it was received first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox and
    notification_id    bigint NOT NULL,  -- the notification it was received in first
    received_at        datetime2(3) NOT NULL,  -- when that was
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    field              nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    template_id        nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    template_name      nvarchar(512) COLLATE Latin1_General_BIN2 NULL,
    template_language  nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    template_category  nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    reason             nvarchar(max) NULL,
    old_value          nvarchar(max) NULL,
    new_value          nvarchar(max) NULL,
    details            nvarchar(max) NULL,
    inserted_at        datetime2(3) NOT NULL,
    changed_at         datetime2(3) NOT NULL,  -- for incremental readers
    CONSTRAINT template_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).template_event') AND name = N'template_event_key')
    CREATE UNIQUE INDEX template_event_key ON $(schema).template_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).template_event') AND name = N'template_event_changed')
    CREATE INDEX template_event_changed ON $(schema).template_event (changed_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).template_event') AND name = N'template_event_occurred')
    CREATE INDEX template_event_occurred ON $(schema).template_event (occurred_at);
GO

-- One notice about a Flow: a change of status, or an alert with its figures.
IF OBJECT_ID(N'$(schema).flow_event', N'U') IS NULL
CREATE TABLE $(schema).flow_event (
    id                 bigint IDENTITY(1, 1) NOT NULL,
    [key]              binary(16) NOT NULL,  -- the same for every delivery of one fact
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- where it was received first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox and
    notification_id    bigint NOT NULL,  -- the notification it was received in first
    received_at        datetime2(3) NOT NULL,  -- when that was
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    flow_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    message            nvarchar(max) NULL,
    old_status         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    new_status         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    alert_state        nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    threshold          float NULL,
    error_rate         float NULL,
    availability       float NULL,
    p50_latency_ms     float NULL,
    p90_latency_ms     float NULL,
    requests_count     bigint NULL,
    errors             nvarchar(max) NULL,
    warning            nvarchar(max) NULL,
    details            nvarchar(max) NULL,
    inserted_at        datetime2(3) NOT NULL,
    changed_at         datetime2(3) NOT NULL,  -- for incremental readers
    CONSTRAINT flow_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).flow_event') AND name = N'flow_event_key')
    CREATE UNIQUE INDEX flow_event_key ON $(schema).flow_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).flow_event') AND name = N'flow_event_changed')
    CREATE INDEX flow_event_changed ON $(schema).flow_event (changed_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).flow_event') AND name = N'flow_event_occurred')
    CREATE INDEX flow_event_occurred ON $(schema).flow_event (occurred_at);
GO

-- One notice about our account, one of our numbers, or what we may do with them.
IF OBJECT_ID(N'$(schema).account_event', N'U') IS NULL
CREATE TABLE $(schema).account_event (
    id                 bigint IDENTITY(1, 1) NOT NULL,
    [key]              binary(16) NOT NULL,  -- the same for every delivery of one fact
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- where it was received first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox and
    notification_id    bigint NOT NULL,  -- the notification it was received in first
    received_at        datetime2(3) NOT NULL,  -- when that was
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    field              nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    entity_type        nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    entity_id          nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    business_phone     nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    severity           nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    old_value          nvarchar(max) NULL,
    new_value          nvarchar(max) NULL,
    reason             nvarchar(max) NULL,
    details            nvarchar(max) NULL,
    inserted_at        datetime2(3) NOT NULL,
    changed_at         datetime2(3) NOT NULL,  -- for incremental readers
    CONSTRAINT account_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).account_event') AND name = N'account_event_key')
    CREATE UNIQUE INDEX account_event_key ON $(schema).account_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).account_event') AND name = N'account_event_changed')
    CREATE INDEX account_event_changed ON $(schema).account_event (changed_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).account_event') AND name = N'account_event_occurred')
    CREATE INDEX account_event_occurred ON $(schema).account_event (occurred_at);
GO

-- One element that is real but not modelled, kept whole.
IF OBJECT_ID(N'$(schema).other_event', N'U') IS NULL
CREATE TABLE $(schema).other_event (
    id                 bigint IDENTITY(1, 1) NOT NULL,
    [key]              binary(16) NOT NULL,  -- the same for every delivery of one fact
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- where it was received first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox and
    notification_id    bigint NOT NULL,  -- the notification it was received in first
    received_at        datetime2(3) NOT NULL,  -- when that was
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    family             nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
    name               nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    message_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    phone              nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    user_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    details            nvarchar(max) NULL,
    inserted_at        datetime2(3) NOT NULL,
    changed_at         datetime2(3) NOT NULL,  -- for incremental readers
    CONSTRAINT other_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_key')
    CREATE UNIQUE INDEX other_event_key ON $(schema).other_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_changed')
    CREATE INDEX other_event_changed ON $(schema).other_event (changed_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_deleted')
    CREATE INDEX other_event_deleted ON $(schema).other_event (message_id) WHERE family = N'statuses' AND name = N'deleted';
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_occurred')
    CREATE INDEX other_event_occurred ON $(schema).other_event (occurred_at);
GO

-- One element or notification that was rejected, and why. rejected_notification has its body.
IF OBJECT_ID(N'$(schema).rejected', N'U') IS NULL
CREATE TABLE $(schema).rejected (
    id              bigint IDENTITY(1, 1) NOT NULL,
    [key]           binary(16) NOT NULL,  -- over provider, path, class of reason and bytes
    provider        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint        nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id bigint NOT NULL,
    received_at     datetime2(3) NOT NULL,
    path            nvarchar(max) NOT NULL,  -- JSON path of the element; $ is the whole body
    reason_class    nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,
    reason          nvarchar(max) NOT NULL,
    body_key        binary(16) NOT NULL,
    inserted_at     datetime2(3) NOT NULL,
    resolved_at     datetime2(3) NULL,  -- when a later success resolved it
    CONSTRAINT rejected_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).rejected') AND name = N'rejected_key')
    CREATE UNIQUE INDEX rejected_key ON $(schema).rejected ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).rejected') AND name = N'rejected_open')
    CREATE INDEX rejected_open ON $(schema).rejected (body_key) WHERE resolved_at IS NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).rejected') AND name = N'rejected_received')
    CREATE INDEX rejected_received ON $(schema).rejected (received_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).rejected') AND name = N'rejected_body')
    CREATE INDEX rejected_body ON $(schema).rejected (body_key);
GO

-- The body of a notification with rejections, once.
IF OBJECT_ID(N'$(schema).rejected_notification', N'U') IS NULL
CREATE TABLE $(schema).rejected_notification (
    body_key     binary(16) NOT NULL,
    content_type nvarchar(max) NULL,
    body         varbinary(max) NOT NULL,  -- byte for byte as received
    CONSTRAINT rejected_notification_pk PRIMARY KEY CLUSTERED (body_key)
);
GO

-- The last notification of each inbox that was gathered; written in the same transaction as the rows.
IF OBJECT_ID(N'$(schema).inbox_position', N'U') IS NULL
CREATE TABLE $(schema).inbox_position (
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id bigint NOT NULL,
    digest          binary(16) NOT NULL,  -- of that notification
    changed_at      datetime2(3) NOT NULL,
    CONSTRAINT inbox_position_pk PRIMARY KEY CLUSTERED (inbox_id)
);
GO

-- One run of `gatherer gather`.
IF OBJECT_ID(N'$(schema).gather_run', N'U') IS NULL
CREATE TABLE $(schema).gather_run (
    id          bigint IDENTITY(1, 1) NOT NULL,
    started_at  datetime2(3) NOT NULL,
    finished_at datetime2(3) NOT NULL,
    host        nvarchar(255) NOT NULL,
    version     nvarchar(64) NOT NULL,
    inbox_id    nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    [read]      int NOT NULL,
    inserted    int NOT NULL,
    filled      int NOT NULL,
    duplicates  int NOT NULL,
    rejected    int NOT NULL,
    exit_code   int NOT NULL,
    problem     nvarchar(max) NULL,
    CONSTRAINT gather_run_pk PRIMARY KEY CLUSTERED (id)
);
GO

-- Filled by the site: which campaign, communication and person a message belongs to. Rows may come
-- before or after the responses.
IF OBJECT_ID(N'$(schema).message_map', N'U') IS NULL
CREATE TABLE $(schema).message_map (
    id                bigint IDENTITY(1, 1) NOT NULL,
    message_id        nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- as the send call returned it, and/or
    client_reference  nvarchar(850) COLLATE Latin1_General_BIN2 NULL,  -- as attached to the message
    campaign          nvarchar(255) NOT NULL,
    communication_key nvarchar(255) NULL,
    urn               nvarchar(255) NULL,
    phone             nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- sent to, E.164
    business_phone    nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- sent from, E.164
    message_name      nvarchar(255) NULL,
    sent_at           datetime2(3) NULL,
    inserted_at       datetime2(3) NOT NULL DEFAULT (SYSUTCDATETIME()),
    CONSTRAINT message_map_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_message')
    CREATE UNIQUE INDEX message_map_message ON $(schema).message_map (message_id) WHERE message_id IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_reference')
    CREATE INDEX message_map_reference ON $(schema).message_map (client_reference) WHERE client_reference IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_phone')
    CREATE INDEX message_map_phone ON $(schema).message_map (phone, sent_at) WHERE phone IS NOT NULL;
GO

-- What stays of an erased person: enough to recognise the person's data, not to find out who it was.
IF OBJECT_ID(N'$(schema).tombstone', N'U') IS NULL
CREATE TABLE $(schema).tombstone (
    identifier binary(32) NOT NULL,  -- the keyed hash of a phone number, user id or message id
    scope      nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- person: what occurred up to erased_at is erased; message: all about it
    erased_at  datetime2(3) NOT NULL,
    key_id     nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the key of the hash
    CONSTRAINT tombstone_pk PRIMARY KEY CLUSTERED (identifier)
);
GO

-- One erasure, without data of the person.
IF OBJECT_ID(N'$(schema).erasure', N'U') IS NULL
CREATE TABLE $(schema).erasure (
    id            bigint IDENTITY(1, 1) NOT NULL,
    erased_at     datetime2(3) NOT NULL,
    host          nvarchar(255) NOT NULL,
    account       nvarchar(255) NOT NULL,  -- of the operating system; it ran the command
    version       nvarchar(64) NOT NULL,
    reference     nvarchar(max) NULL,  -- as the operator gave it
    identifiers   int NOT NULL,  -- phone numbers and user ids
    notifications int NOT NULL,  -- removed from inboxes, or redacted there
    responses     int NOT NULL,  -- rows removed
    other_rows    int NOT NULL,  -- rows removed from other tables
    CONSTRAINT erasure_pk PRIMARY KEY CLUSTERED (id)
);
GO

-- Settings of the site that views need; a run writes them from [target] of the configuration. And the identity of this
-- database, which is its name as a consumer of an inbox.
IF OBJECT_ID(N'$(schema).setting', N'U') IS NULL
CREATE TABLE $(schema).setting (
    name  nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    value nvarchar(255) NOT NULL,
    CONSTRAINT setting_pk PRIMARY KEY CLUSTERED (name)
);
GO
IF NOT EXISTS (SELECT 1 FROM $(schema).setting)
    INSERT INTO $(schema).setting (name, value) VALUES (N'attribution_hours', N'72'), (N'time_zone', N'UTC');
GO
IF NOT EXISTS (SELECT 1 FROM $(schema).setting WHERE name = N'identity')
    INSERT INTO $(schema).setting (name, value)
    VALUES (N'identity', LOWER(REPLACE(CONVERT(nvarchar(36), NEWID()), N'-', N'')));
GO

-- The site's time zone as intervals of UTC, half open, without gaps.
IF OBJECT_ID(N'$(schema).time_zone_offset', N'U') IS NULL
CREATE TABLE $(schema).time_zone_offset (
    starts_at      datetime2(3) NOT NULL,
    ends_at        datetime2(3) NOT NULL,
    offset_minutes int NOT NULL,
    CONSTRAINT time_zone_offset_pk PRIMARY KEY CLUSTERED (starts_at)
);
GO
IF NOT EXISTS (SELECT 1 FROM $(schema).time_zone_offset)
    INSERT INTO $(schema).time_zone_offset (starts_at, ends_at, offset_minutes)
    VALUES ('0001-01-01T00:00:00.000', '9999-12-31T23:59:59.999', 0);
GO
