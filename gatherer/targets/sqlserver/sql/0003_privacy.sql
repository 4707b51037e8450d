-- What is not kept for ever: the text of old answers, old rows, and people who asked to be erased.
--
-- Running it again changes nothing (but on Babelfish, which renames indexes and so does not find them here). The views
-- have to be made again after it: those with all columns of a table have the ones that it had when they were made.

SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
GO
-- When what the person wrote was removed, because it had become too old. It is never filled again.
IF COL_LENGTH(N'$(schema).response', N'blanked_at') IS NULL
    ALTER TABLE $(schema).response ADD blanked_at datetime2(3) NULL;
GO

-- What is left of an erased person: enough to know them again, not to find out who they were.
IF OBJECT_ID(N'$(schema).tombstone', N'U') IS NULL
CREATE TABLE $(schema).tombstone (
    identifier binary(32) NOT NULL,  -- the keyed hash of a phone number, user id or message id
    scope      nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- person: what occurred up to erased_at is erased; message: all about it
    erased_at  datetime2(3) NOT NULL,
    key_id     nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- which key it was hashed with
    CONSTRAINT tombstone_pk PRIMARY KEY CLUSTERED (identifier)
);
GO

-- One erasure: an account of it without the person.
IF OBJECT_ID(N'$(schema).erasure', N'U') IS NULL
CREATE TABLE $(schema).erasure (
    id            bigint IDENTITY(1, 1) NOT NULL,
    erased_at     datetime2(3) NOT NULL,
    host          nvarchar(255) NOT NULL,
    account       nvarchar(255) NOT NULL,  -- of the operating system, that ran the command
    version       nvarchar(64) NOT NULL,
    reference     nvarchar(max) NULL,  -- what the person who did it calls it
    identifiers   int NOT NULL,  -- phone numbers and user ids
    notifications int NOT NULL,  -- taken out of inboxes, or freed of what they said about the person
    responses     int NOT NULL,  -- rows removed, and so are
    other_rows    int NOT NULL,  -- those of other tables
    CONSTRAINT erasure_pk PRIMARY KEY CLUSTERED (id)
);
GO

-- A run looks for what is too old, and mostly finds nothing: without these it would read everything each time. What a
-- filter says of a column holds for a query only where the column is in the index as well.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_kept')
    CREATE INDEX response_kept ON $(schema).response (occurred_at) INCLUDE (kind, blanked_at)
    WHERE blanked_at IS NULL AND kind IN (
        N'reacted', N'replied', N'edited', N'revoked', N'opted_out', N'opted_in', N'clicked', N'reply_marker'
    );
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).template_event') AND name = N'template_event_occurred')
    CREATE INDEX template_event_occurred ON $(schema).template_event (occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).flow_event') AND name = N'flow_event_occurred')
    CREATE INDEX flow_event_occurred ON $(schema).flow_event (occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).account_event') AND name = N'account_event_occurred')
    CREATE INDEX account_event_occurred ON $(schema).account_event (occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_occurred')
    CREATE INDEX other_event_occurred ON $(schema).other_event (occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).rejected') AND name = N'rejected_received')
    CREATE INDEX rejected_received ON $(schema).rejected (received_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).rejected') AND name = N'rejected_body')
    CREATE INDEX rejected_body ON $(schema).rejected (body_key);
GO
