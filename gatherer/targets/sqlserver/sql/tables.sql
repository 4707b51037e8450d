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
    number     int NOT NULL,  -- of the tables and views
    required   int NOT NULL,  -- the lowest version that a gatherer must know to write here
    applied_at datetime2(3) NOT NULL DEFAULT (SYSUTCDATETIME()),  -- when the scripts ran to their end
    applied_by nvarchar(128) NOT NULL DEFAULT (SUSER_SNAME()),  -- the login that ran them
    CONSTRAINT schema_version_pk PRIMARY KEY CLUSTERED (number)
);
GO

-- One response: a receipt (sent, delivered, read, failed, …) or an answer (replied, reacted, …).
IF OBJECT_ID(N'$(schema).response', N'U') IS NULL
CREATE TABLE $(schema).response (
    id                  bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    [key]               binary(16) NOT NULL,  -- which fact this is: the same for every delivery
    provider            nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider whose format the notification had
    endpoint            nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- the endpoint that received it first
    inbox_id            nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in first
    notification_id     bigint NOT NULL,  -- the notification in that inbox
    received_at         datetime2(3) NOT NULL,  -- when that endpoint received it
    occurred_at         datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source  nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id          nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our account at the provider; Meta: the id of the WhatsApp Business Account
    is_test             bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    kind                nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,  -- sent, delivered, read, played, failed, reacted, replied, edited, revoked, opted_out, opted_in, clicked, reply_marker
    message_id          nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- receipts: our message; answers: the person's own
    provider_message_id nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the provider's own id of that message, where message_id is WhatsApp's
    about_message_id    nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- answers: the message reacted or replied to
    phone               nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- the person, E.164; NULL where WhatsApp withholds it
    phone_raw           nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the digits as received
    user_id             nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the person's business-scoped user id
    phone_number_id     nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our number's id at the provider
    business_phone      nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- our number, E.164
    client_reference    nvarchar(850) COLLATE Latin1_General_BIN2 NULL,  -- what the sender attached to our message
    profile_name        nvarchar(max) NULL,  -- what the person calls themselves
    group_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the group in which the message was written
    emoji               nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- '' = taken back; NULL = none, or unreadable
    reply_type          nvarchar(100) COLLATE Latin1_General_BIN2 NULL,  -- text, button, list, flow, image, …
    reply_text          nvarchar(max) NULL,  -- what a person reads: text, caption, title of the button
    reply_payload       nvarchar(max) NULL,  -- button id; Flow answers: the response_json verbatim
    media_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the id of a picture, document or recording at the provider
    media_type          nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- its MIME type
    error_code          bigint NULL,  -- the code of the first error
    error_title         nvarchar(max) NULL,  -- its title
    error_details       nvarchar(max) NULL,  -- its explanation
    errors              nvarchar(max) NULL,  -- all errors as JSON
    pricing_category    nvarchar(100) COLLATE Latin1_General_BIN2 NULL,  -- as the provider bills the message: marketing, utility, …
    pricing_model       nvarchar(100) COLLATE Latin1_General_BIN2 NULL,  -- such as PMP, per message
    pricing_type        nvarchar(100) COLLATE Latin1_General_BIN2 NULL,  -- such as regular or free_customer_service
    billable            bit NULL,  -- 1: the provider bills the message
    details             nvarchar(max) NULL,  -- JSON: what else the element said
    inserted_at         datetime2(3) NOT NULL,  -- when the row was written first
    changed_at          datetime2(3) NOT NULL,  -- when the row was written last
    commit_number       bigint NOT NULL,  -- the transaction that wrote the row last; exports go by it
    blanked_at          datetime2(3) NULL,  -- when the text of an old answer was removed; it is never filled again
    told_commit_number  bigint NULL,  -- of a row that was blanked last: its commit_number before that
    original_message_id nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the provider's id, where a pair has put WhatsApp's into message_id
    original_about_id   nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the same for about_message_id
    CONSTRAINT response_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_key')
    CREATE UNIQUE INDEX response_key ON $(schema).response ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_message')
    CREATE INDEX response_message ON $(schema).response (message_id);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_provider_message')
    CREATE INDEX response_provider_message ON $(schema).response (provider_message_id) WHERE provider_message_id IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_about')
    CREATE INDEX response_about ON $(schema).response (about_message_id) WHERE about_message_id IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_original_message')
    CREATE INDEX response_original_message ON $(schema).response (original_message_id) WHERE original_message_id IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_original_about')
    CREATE INDEX response_original_about ON $(schema).response (original_about_id) WHERE original_about_id IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_phone')
    CREATE INDEX response_phone ON $(schema).response (phone, occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_occurred')
    CREATE INDEX response_occurred ON $(schema).response (occurred_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_reference')
    CREATE INDEX response_reference ON $(schema).response (client_reference) WHERE client_reference IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_test')
    CREATE INDEX response_test ON $(schema).response (id) WHERE is_test = 1;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).response') AND name = N'response_commit')
    CREATE INDEX response_commit ON $(schema).response (commit_number);
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
    id                 bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    [key]              binary(16) NOT NULL,  -- which fact this is: the same for every delivery
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider whose format the notification had
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- the endpoint that received it first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in first
    notification_id    bigint NOT NULL,  -- the notification in that inbox
    received_at        datetime2(3) NOT NULL,  -- when that endpoint received it
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our account at the provider; Meta: the id of the WhatsApp Business Account
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    field              nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,  -- the kind of notice, in the provider's own word
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- APPROVED, REJECTED, PAUSED, …
    template_id        nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the id of the template at the provider
    template_name      nvarchar(512) COLLATE Latin1_General_BIN2 NULL,  -- its name
    template_language  nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- its language, as in en_GB
    template_category  nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- MARKETING, UTILITY, …
    reason             nvarchar(max) NULL,  -- why the provider did this
    old_value          nvarchar(max) NULL,  -- quality, category or status before
    new_value          nvarchar(max) NULL,  -- and after
    details            nvarchar(max) NULL,  -- the whole notice as JSON
    inserted_at        datetime2(3) NOT NULL,  -- when the row was written first
    changed_at         datetime2(3) NOT NULL,  -- when the row was written last
    commit_number      bigint NOT NULL,  -- the transaction that wrote the row last; exports go by it
    CONSTRAINT template_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).template_event') AND name = N'template_event_key')
    CREATE UNIQUE INDEX template_event_key ON $(schema).template_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).template_event') AND name = N'template_event_commit')
    CREATE INDEX template_event_commit ON $(schema).template_event (commit_number);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).template_event') AND name = N'template_event_occurred')
    CREATE INDEX template_event_occurred ON $(schema).template_event (occurred_at);
GO

-- One notice about a Flow: a change of status, or an alert with its figures.
IF OBJECT_ID(N'$(schema).flow_event', N'U') IS NULL
CREATE TABLE $(schema).flow_event (
    id                 bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    [key]              binary(16) NOT NULL,  -- which fact this is: the same for every delivery
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider whose format the notification had
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- the endpoint that received it first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in first
    notification_id    bigint NOT NULL,  -- the notification in that inbox
    received_at        datetime2(3) NOT NULL,  -- when that endpoint received it
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our account at the provider; Meta: the id of the WhatsApp Business Account
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- FLOW_STATUS_CHANGE, ENDPOINT_LATENCY, …
    flow_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the id of the Flow at the provider
    message            nvarchar(max) NULL,  -- the provider's text
    old_status         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- the status before
    new_status         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- and after
    alert_state        nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- ACTIVATED or DEACTIVATED
    threshold          float NULL,  -- of the alert: percent or milliseconds
    error_rate         float NULL,  -- percent
    availability       float NULL,  -- percent
    p50_latency_ms     float NULL,  -- half of the requests were faster
    p90_latency_ms     float NULL,  -- 90 % of the requests were faster
    requests_count     bigint NULL,  -- how many requests the figures are about
    errors             nvarchar(max) NULL,  -- JSON list of error types with rates and counts
    warning            nvarchar(max) NULL,  -- the provider's warning
    details            nvarchar(max) NULL,  -- the whole notice as JSON
    inserted_at        datetime2(3) NOT NULL,  -- when the row was written first
    changed_at         datetime2(3) NOT NULL,  -- when the row was written last
    commit_number      bigint NOT NULL,  -- the transaction that wrote the row last; exports go by it
    CONSTRAINT flow_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).flow_event') AND name = N'flow_event_key')
    CREATE UNIQUE INDEX flow_event_key ON $(schema).flow_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).flow_event') AND name = N'flow_event_commit')
    CREATE INDEX flow_event_commit ON $(schema).flow_event (commit_number);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).flow_event') AND name = N'flow_event_occurred')
    CREATE INDEX flow_event_occurred ON $(schema).flow_event (occurred_at);
GO

-- One notice about our account, one of our numbers, or what we may do with them.
IF OBJECT_ID(N'$(schema).account_event', N'U') IS NULL
CREATE TABLE $(schema).account_event (
    id                 bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    [key]              binary(16) NOT NULL,  -- which fact this is: the same for every delivery
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider whose format the notification had
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- the endpoint that received it first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in first
    notification_id    bigint NOT NULL,  -- the notification in that inbox
    received_at        datetime2(3) NOT NULL,  -- when that endpoint received it
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our account at the provider; Meta: the id of the WhatsApp Business Account
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    field              nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,  -- the kind of notice, in the provider's own word
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- what happened, in the provider's own word
    entity_type        nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- what the notice is about: a number, an account, …
    entity_id          nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- its id at the provider
    business_phone     nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- our number, E.164
    severity           nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- in the provider's own word
    old_value          nvarchar(max) NULL,  -- limit, status or quality before
    new_value          nvarchar(max) NULL,  -- and after
    reason             nvarchar(max) NULL,  -- why the provider did this
    details            nvarchar(max) NULL,  -- the whole notice as JSON
    inserted_at        datetime2(3) NOT NULL,  -- when the row was written first
    changed_at         datetime2(3) NOT NULL,  -- when the row was written last
    commit_number      bigint NOT NULL,  -- the transaction that wrote the row last; exports go by it
    CONSTRAINT account_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).account_event') AND name = N'account_event_key')
    CREATE UNIQUE INDEX account_event_key ON $(schema).account_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).account_event') AND name = N'account_event_commit')
    CREATE INDEX account_event_commit ON $(schema).account_event (commit_number);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).account_event') AND name = N'account_event_occurred')
    CREATE INDEX account_event_occurred ON $(schema).account_event (occurred_at);
GO

-- One element that is real but not modelled, kept whole.
IF OBJECT_ID(N'$(schema).other_event', N'U') IS NULL
CREATE TABLE $(schema).other_event (
    id                 bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    [key]              binary(16) NOT NULL,  -- which fact this is: the same for every delivery
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider whose format the notification had
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- the endpoint that received it first
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in first
    notification_id    bigint NOT NULL,  -- the notification in that inbox
    received_at        datetime2(3) NOT NULL,  -- when that endpoint received it
    occurred_at        datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our account at the provider; Meta: the id of the WhatsApp Business Account
    is_test            bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    family             nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,  -- where the element was: messages, statuses, calls, history, …
    name               nvarchar(255) COLLATE Latin1_General_BIN2 NULL,  -- its type, status or event
    message_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the message that it is about
    phone              nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- the person, E.164
    user_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- the person's business-scoped user id
    details            nvarchar(max) NULL,  -- the element as JSON
    inserted_at        datetime2(3) NOT NULL,  -- when the row was written first
    changed_at         datetime2(3) NOT NULL,  -- when the row was written last
    commit_number      bigint NOT NULL,  -- the transaction that wrote the row last; exports go by it
    CONSTRAINT other_event_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_key')
    CREATE UNIQUE INDEX other_event_key ON $(schema).other_event ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_commit')
    CREATE INDEX other_event_commit ON $(schema).other_event (commit_number);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_deleted')
    CREATE INDEX other_event_deleted ON $(schema).other_event (message_id) WHERE family = N'statuses' AND name = N'deleted';
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).other_event') AND name = N'other_event_occurred')
    CREATE INDEX other_event_occurred ON $(schema).other_event (occurred_at);
GO

-- Two ids of one message: a response had both. In all responses, WhatsApp's id takes the place of the provider's.
IF OBJECT_ID(N'$(schema).message_id_pair', N'U') IS NULL
CREATE TABLE $(schema).message_id_pair (
    id                  bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    [key]               binary(16) NOT NULL,  -- which fact this is: the same for every delivery
    provider            nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider whose format the notification had
    endpoint            nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- the endpoint that received it first
    inbox_id            nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in first
    notification_id     bigint NOT NULL,  -- the notification in that inbox
    received_at         datetime2(3) NOT NULL,  -- when that endpoint received it
    occurred_at         datetime2(3) NOT NULL,  -- when it happened
    occurred_at_source  nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- what gave that time: element, entry or receipt
    account_id          nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- our account at the provider; Meta: the id of the WhatsApp Business Account
    is_test             bit NOT NULL,  -- 1: dashboard tests and simulated traffic
    provider_message_id nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider's own id
    message_id          nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL,  -- WhatsApp's id
    inserted_at         datetime2(3) NOT NULL,  -- when the row was written first
    changed_at          datetime2(3) NOT NULL,  -- when the row was written last
    commit_number       bigint NOT NULL,  -- the transaction that wrote the row last; exports go by it
    CONSTRAINT message_id_pair_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_id_pair') AND name = N'message_id_pair_key')
    CREATE UNIQUE INDEX message_id_pair_key ON $(schema).message_id_pair ([key]);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_id_pair') AND name = N'message_id_pair_provider')
    CREATE INDEX message_id_pair_provider ON $(schema).message_id_pair (provider_message_id) INCLUDE (message_id);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_id_pair') AND name = N'message_id_pair_message')
    CREATE INDEX message_id_pair_message ON $(schema).message_id_pair (message_id);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_id_pair') AND name = N'message_id_pair_commit')
    CREATE INDEX message_id_pair_commit ON $(schema).message_id_pair (commit_number);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_id_pair') AND name = N'message_id_pair_occurred')
    CREATE INDEX message_id_pair_occurred ON $(schema).message_id_pair (occurred_at);
GO

-- One element or notification that was rejected, and why. rejected_notification has its body.
IF OBJECT_ID(N'$(schema).rejected', N'U') IS NULL
CREATE TABLE $(schema).rejected (
    id              bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    [key]           binary(16) NOT NULL,  -- over provider, path, class of reason and bytes
    provider        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the provider of the endpoint
    endpoint        nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,  -- where the notification was received
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in first
    notification_id bigint NOT NULL,  -- the notification in that inbox
    received_at     datetime2(3) NOT NULL,  -- when that endpoint received it
    path            nvarchar(max) NOT NULL,  -- JSON path of the element; $ is the whole body
    reason_class    nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,  -- unreadable, shape, element, missing_id, unknown_provider, decoder, refused
    reason          nvarchar(max) NOT NULL,  -- one sentence
    body_key        binary(16) NOT NULL,  -- of the body in rejected_notification
    inserted_at     datetime2(3) NOT NULL,  -- when the row was written first
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

-- One more notification that told the fact of a row, beside the one that the row names. `gatherer replay --rebuild`
-- makes a row anew from all of them.
IF OBJECT_ID(N'$(schema).contributor', N'U') IS NULL
CREATE TABLE $(schema).contributor (
    [key]           binary(16) NOT NULL,  -- of the row
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox that it was received in as well
    notification_id bigint NOT NULL,  -- the notification in that inbox
    CONSTRAINT contributor_pk PRIMARY KEY CLUSTERED ([key], inbox_id, notification_id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).contributor') AND name = N'contributor_notification')
    CREATE INDEX contributor_notification ON $(schema).contributor (notification_id);
GO

-- The body of a notification with rejections, once.
IF OBJECT_ID(N'$(schema).rejected_notification', N'U') IS NULL
CREATE TABLE $(schema).rejected_notification (
    body_key     binary(16) NOT NULL,  -- the first 16 bytes of a SHA-256 over the body
    content_type nvarchar(max) NULL,  -- the Content-Type of the request
    body         varbinary(max) NOT NULL,  -- byte for byte as received
    CONSTRAINT rejected_notification_pk PRIMARY KEY CLUSTERED (body_key)
);
GO

-- The last notification of each inbox that was gathered; written in the same transaction as the rows.
IF OBJECT_ID(N'$(schema).inbox_position', N'U') IS NULL
CREATE TABLE $(schema).inbox_position (
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- of the inbox
    notification_id bigint NOT NULL,  -- the last one whose rows are in this database
    digest          binary(16) NOT NULL,  -- of that notification
    changed_at      datetime2(3) NOT NULL,  -- when the position moved
    CONSTRAINT inbox_position_pk PRIMARY KEY CLUSTERED (inbox_id)
);
GO

-- One run of `gatherer gather` over one inbox, or one step of [[after_run]] after it.
IF OBJECT_ID(N'$(schema).gather_run', N'U') IS NULL
CREATE TABLE $(schema).gather_run (
    id          bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    started_at  datetime2(3) NOT NULL,  -- by the clock of the machine that gathers
    finished_at datetime2(3) NOT NULL,  -- by the same clock
    host        nvarchar(255) NOT NULL,  -- that machine
    version     nvarchar(64) NOT NULL,  -- of gatherer
    inbox_id    nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the inbox; '' if it could not be opened, and for a step
    [read]      int NOT NULL,  -- notifications that were read
    inserted    int NOT NULL,  -- new rows
    filled      int NOT NULL,  -- rows to which another delivery of the same fact added something
    duplicates  int NOT NULL,  -- facts that changed no row
    rejected    int NOT NULL,  -- new rejections
    exit_code   int NOT NULL,  -- 0, or the code of the error that ended the run for this inbox; of a step: its exit code
    problem     nvarchar(max) NULL,  -- that error
    step        nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- the name of the step; NULL: the run itself
    last_line   nvarchar(max) NULL,  -- of the output of the step
    times_ahead int NOT NULL,  -- responses whose stated time is so far ahead of the receipt that it is not used
    purged_unread bigint NOT NULL,  -- notifications that the inbox purged before this target had read them
    missing     bigint NOT NULL,  -- notifications that the inbox does not hold and did not purge
    CONSTRAINT gather_run_pk PRIMARY KEY CLUSTERED (id)
);
GO

-- Filled by the site: which campaign, communication and person a message belongs to. Rows may come
-- before or after the responses.
IF OBJECT_ID(N'$(schema).message_map', N'U') IS NULL
CREATE TABLE $(schema).message_map (
    id                bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    message_id        nvarchar(450) COLLATE Latin1_General_BIN2 NULL,  -- as the send call returned it, and/or
    client_reference  nvarchar(850) COLLATE Latin1_General_BIN2 NULL,  -- as attached to the message
    campaign          nvarchar(255) NOT NULL,  -- the name that reports group by
    communication_key nvarchar(255) NULL,  -- the site's key of the sending
    urn               nvarchar(255) NULL,  -- the site's key of the person
    phone             nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- sent to, E.164
    business_phone    nvarchar(64) COLLATE Latin1_General_BIN2 NULL,  -- sent from, E.164
    message_name      nvarchar(255) NULL,  -- the site's name of the message
    sent_at           datetime2(3) NULL,  -- NULL: the time of the receipt counts
    inserted_at       datetime2(3) NOT NULL DEFAULT (SYSUTCDATETIME()),  -- when the row was written first
    version           rowversion NOT NULL,  -- the server changes it with every write of the row; exports go by it
    CONSTRAINT message_map_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_message')
    CREATE UNIQUE INDEX message_map_message ON $(schema).message_map (message_id) WHERE message_id IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_reference')
    CREATE INDEX message_map_reference ON $(schema).message_map (client_reference) WHERE client_reference IS NOT NULL;
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_version')
    CREATE INDEX message_map_version ON $(schema).message_map (version);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_phone')
    CREATE INDEX message_map_phone ON $(schema).message_map (phone, sent_at) WHERE phone IS NOT NULL;
-- For `gatherer map`: messages by time of sending, and rows that name no message.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_sent')
    CREATE INDEX message_map_sent ON $(schema).message_map (sent_at, inserted_at);
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'$(schema).message_map') AND name = N'message_map_unbound')
    CREATE INDEX message_map_unbound ON $(schema).message_map (phone, sent_at) INCLUDE (message_id, client_reference)
    WHERE message_id IS NULL AND client_reference IS NULL;
GO

-- One row: the number of the last transaction of gatherer that wrote here. Transactions write one after the other, so that
-- all numbers up to a committed one are committed as well.
IF OBJECT_ID(N'$(schema).commit_sequence', N'U') IS NULL
CREATE TABLE $(schema).commit_sequence (
    id     int NOT NULL CHECK (id = 1),  -- 1
    number bigint NOT NULL,  -- of that transaction
    CONSTRAINT commit_sequence_pk PRIMARY KEY CLUSTERED (id)
);
GO
IF NOT EXISTS (SELECT 1 FROM $(schema).commit_sequence)
    INSERT INTO $(schema).commit_sequence (id, number) VALUES (1, 0);
GO

-- Up to where an export with --since-last, or a step of [[after_run]], has read.
IF OBJECT_ID(N'$(schema).export_cursor', N'U') IS NULL
CREATE TABLE $(schema).export_cursor (
    kind          nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- export or after-run
    name          nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- of --since-last, or of the step
    commit_number bigint NOT NULL,  -- of the tables of facts
    map_number    bigint NOT NULL,  -- of message_map: its version as a number
    moved_at      datetime2(3) NOT NULL,  -- when the cursor moved
    CONSTRAINT export_cursor_pk PRIMARY KEY CLUSTERED (kind, name)
);
GO

-- What stays of an erased person: enough to recognise the person's data, not to find out who it was.
IF OBJECT_ID(N'$(schema).tombstone', N'U') IS NULL
CREATE TABLE $(schema).tombstone (
    identifier binary(32) NOT NULL,  -- the keyed hash of a phone number, user id or message id
    scope      nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,  -- person: what occurred up to erased_at is erased; message: all about it
    erased_at  datetime2(3) NOT NULL,  -- when the person was erased
    key_id     nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- the key of the hash
    CONSTRAINT tombstone_pk PRIMARY KEY CLUSTERED (identifier)
);
GO

-- One erasure, without data of the person.
IF OBJECT_ID(N'$(schema).erasure', N'U') IS NULL
CREATE TABLE $(schema).erasure (
    id            bigint IDENTITY(1, 1) NOT NULL,  -- counts up in the order of insertion
    erased_at     datetime2(3) NOT NULL,  -- when the person was erased
    host          nvarchar(255) NOT NULL,  -- the machine that ran the command
    account       nvarchar(255) NOT NULL,  -- of the operating system; it ran the command
    version       nvarchar(64) NOT NULL,  -- of gatherer
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
    name  nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,  -- attribution_hours, time_zone or identity
    value nvarchar(255) NOT NULL,  -- its value
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
    starts_at      datetime2(3) NOT NULL,  -- UTC, included
    ends_at        datetime2(3) NOT NULL,  -- UTC, excluded
    offset_minutes int NOT NULL,  -- local time minus UTC
    CONSTRAINT time_zone_offset_pk PRIMARY KEY CLUSTERED (starts_at)
);
GO
IF NOT EXISTS (SELECT 1 FROM $(schema).time_zone_offset)
    INSERT INTO $(schema).time_zone_offset (starts_at, ends_at, offset_minutes)
    VALUES ('0001-01-01T00:00:00.000', '9999-12-31T23:59:59.999', 0);
GO
