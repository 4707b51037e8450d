-- Stage rows of flow_event.
--
-- First batch, once per connection: the temporary table that they are staged in. All its text compares byte by byte.
CREATE TABLE #flow_event (
    [key]              binary(16) NOT NULL,
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id    bigint NOT NULL,
    received_at        datetime2(3) NOT NULL,
    occurred_at        datetime2(3) NOT NULL,
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    is_test            bit NOT NULL,
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    flow_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    message            nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    old_status         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    new_status         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    alert_state        nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    threshold          float NULL,
    error_rate         float NULL,
    availability       float NULL,
    p50_latency_ms     float NULL,
    p90_latency_ms     float NULL,
    requests_count     bigint NULL,
    errors             nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    warning            nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    details            nvarchar(max) COLLATE Latin1_General_BIN2 NULL
);
GO
-- Second batch: stage up to 2 000 rows (lock escalation starts near 5 000). Parameter: the rows as JSON arrays in
-- the order of the columns. Text is read as nvarchar(max), so that no value is cut: the temporary table refuses one
-- that is too long for its column.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;
DECLARE @staged int;

DELETE FROM #flow_event;
INSERT INTO #flow_event (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, event, flow_id, message, old_status, new_status, alert_state, threshold,
    error_rate, availability, p50_latency_ms, p90_latency_ms, requests_count, errors, warning, details
)
SELECT
    CONVERT(binary(16), [key], 2), provider, endpoint, inbox_id, notification_id, received_at,
    occurred_at, occurred_at_source, account_id, is_test, event, flow_id, message, old_status,
    new_status, alert_state, threshold, error_rate, availability, p50_latency_ms, p90_latency_ms,
    requests_count, errors, warning, details
FROM OPENJSON(@rows) WITH (
    [key]              char(32) '$[0]',
    provider           nvarchar(max) '$[1]',
    endpoint           nvarchar(max) '$[2]',
    inbox_id           nvarchar(max) '$[3]',
    notification_id    bigint '$[4]',
    received_at        datetime2(3) '$[5]',
    occurred_at        datetime2(3) '$[6]',
    occurred_at_source nvarchar(max) '$[7]',
    account_id         nvarchar(max) '$[8]',
    is_test            bit '$[9]',
    event              nvarchar(max) '$[10]',
    flow_id            nvarchar(max) '$[11]',
    message            nvarchar(max) '$[12]',
    old_status         nvarchar(max) '$[13]',
    new_status         nvarchar(max) '$[14]',
    alert_state        nvarchar(max) '$[15]',
    threshold          float '$[16]',
    error_rate         float '$[17]',
    availability       float '$[18]',
    p50_latency_ms     float '$[19]',
    p90_latency_ms     float '$[20]',
    requests_count     bigint '$[21]',
    errors             nvarchar(max) '$[22]',
    warning            nvarchar(max) '$[23]',
    details            nvarchar(max) '$[24]'
);
SET @staged = @@ROWCOUNT;
SELECT @staged AS staged, @staged AS written, @@TRANCOUNT AS transactions;
GO
-- Insert the staged rows of flow_event, or fill rows from another delivery of the same fact.
--
-- Where two deliveries contradict each other, gatherer/model/merge.py alone decides which value wins: UTF-16, in which
-- SQL Server sorts, and UTF-8, in which SQLite sorts, put characters beyond the Basic Multilingual Plane in different
-- places. So the server finds what is new and what differs, and takes the merged rows back.
-- No MERGE: it is two statements under one name, with races and defects of its own.
--
-- First batch, inside a transaction that holds the application lock. Parameter: the time of writing.
-- FORCESEEK, because a scan under HOLDLOCK would lock every row that it passes.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM [gatherer].commit_sequence);
DECLARE @staged int, @inserted int;

INSERT INTO #applied (table_name, [key])
SELECT N'flow_event', [key] FROM #flow_event;
SET @staged = @@ROWCOUNT;

-- First result: stored rows that the staged row could change. A staged NULL never does. Lengths are compared as well,
-- because 'a' = 'a ' in T-SQL, in every collation. A text that was blanked is never filled again.
SELECT
    t.[key], t.provider, t.endpoint, t.inbox_id, t.notification_id, t.received_at, t.occurred_at,
    t.occurred_at_source, t.account_id, t.is_test, t.event, t.flow_id, t.message, t.old_status,
    t.new_status, t.alert_state, t.threshold, t.error_rate, t.availability, t.p50_latency_ms,
    t.p90_latency_ms, t.requests_count, t.errors, t.warning, t.details
FROM #flow_event AS s
JOIN [gatherer].flow_event AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) ON t.[key] = s.[key]
WHERE
    s.received_at < t.received_at
    OR (
        s.received_at = t.received_at
        AND (
            s.inbox_id <> t.inbox_id OR s.notification_id <> t.notification_id OR s.endpoint <> t.endpoint
            OR s.provider <> t.provider
        )
    )
    OR s.occurred_at <> t.occurred_at
    OR s.occurred_at_source <> t.occurred_at_source OR DATALENGTH(s.occurred_at_source) <> DATALENGTH(t.occurred_at_source)
    OR s.account_id <> t.account_id OR DATALENGTH(s.account_id) <> DATALENGTH(t.account_id) OR (t.account_id IS NULL AND s.account_id IS NOT NULL)
    OR s.is_test <> t.is_test
    OR s.event <> t.event OR DATALENGTH(s.event) <> DATALENGTH(t.event) OR (t.event IS NULL AND s.event IS NOT NULL)
    OR s.flow_id <> t.flow_id OR DATALENGTH(s.flow_id) <> DATALENGTH(t.flow_id) OR (t.flow_id IS NULL AND s.flow_id IS NOT NULL)
    OR s.message <> t.message COLLATE Latin1_General_BIN2 OR DATALENGTH(s.message) <> DATALENGTH(t.message) OR (t.message IS NULL AND s.message IS NOT NULL)
    OR s.old_status <> t.old_status OR DATALENGTH(s.old_status) <> DATALENGTH(t.old_status) OR (t.old_status IS NULL AND s.old_status IS NOT NULL)
    OR s.new_status <> t.new_status OR DATALENGTH(s.new_status) <> DATALENGTH(t.new_status) OR (t.new_status IS NULL AND s.new_status IS NOT NULL)
    OR s.alert_state <> t.alert_state OR DATALENGTH(s.alert_state) <> DATALENGTH(t.alert_state) OR (t.alert_state IS NULL AND s.alert_state IS NOT NULL)
    OR s.threshold <> t.threshold OR (t.threshold IS NULL AND s.threshold IS NOT NULL)
    OR s.error_rate <> t.error_rate OR (t.error_rate IS NULL AND s.error_rate IS NOT NULL)
    OR s.availability <> t.availability OR (t.availability IS NULL AND s.availability IS NOT NULL)
    OR s.p50_latency_ms <> t.p50_latency_ms OR (t.p50_latency_ms IS NULL AND s.p50_latency_ms IS NOT NULL)
    OR s.p90_latency_ms <> t.p90_latency_ms OR (t.p90_latency_ms IS NULL AND s.p90_latency_ms IS NOT NULL)
    OR s.requests_count <> t.requests_count OR (t.requests_count IS NULL AND s.requests_count IS NOT NULL)
    OR s.errors <> t.errors COLLATE Latin1_General_BIN2 OR DATALENGTH(s.errors) <> DATALENGTH(t.errors) OR (t.errors IS NULL AND s.errors IS NOT NULL)
    OR s.warning <> t.warning COLLATE Latin1_General_BIN2 OR DATALENGTH(s.warning) <> DATALENGTH(t.warning) OR (t.warning IS NULL AND s.warning IS NOT NULL)
    OR s.details <> t.details COLLATE Latin1_General_BIN2 OR DATALENGTH(s.details) <> DATALENGTH(t.details) OR (t.details IS NULL AND s.details IS NOT NULL);

-- Second result: how many rows were new, by the word that they are counted under. The unique index is the real guard.
INSERT INTO [gatherer].flow_event (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, event, flow_id, message, old_status, new_status, alert_state, threshold,
    error_rate, availability, p50_latency_ms, p90_latency_ms, requests_count, errors, warning, details, inserted_at, changed_at, commit_number
)
SELECT
    s.[key], s.provider, s.endpoint, s.inbox_id, s.notification_id, s.received_at, s.occurred_at,
    s.occurred_at_source, s.account_id, s.is_test, s.event, s.flow_id, s.message, s.old_status,
    s.new_status, s.alert_state, s.threshold, s.error_rate, s.availability, s.p50_latency_ms,
    s.p90_latency_ms, s.requests_count, s.errors, s.warning, s.details, @now, @now, @number
FROM #flow_event AS s
WHERE NOT EXISTS (
    SELECT 1 FROM [gatherer].flow_event AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) WHERE t.[key] = s.[key]
);
SET @inserted = @@ROWCOUNT;
SELECT N'flow_event' AS word, @inserted AS inserted WHERE @inserted > 0;

-- A notification that tells a stored row again is a further contributor.
IF @inserted < @staged
    INSERT INTO [gatherer].contributor ([key], inbox_id, notification_id)
    SELECT s.[key], s.inbox_id, s.notification_id
    FROM #flow_event AS s
    JOIN [gatherer].flow_event AS t ON t.[key] = s.[key]
    WHERE (t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id)
        AND NOT EXISTS (
            SELECT 1 FROM [gatherer].contributor AS c
            WHERE c.[key] = s.[key] AND c.inbox_id = s.inbox_id AND c.notification_id = s.notification_id
        );

-- Last result: the proof that all of this ran, and that the transaction is still open.
SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
GO
-- Second batch, with merged rows staged: their keys are stored and locked. Parameter: the time of writing.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM [gatherer].commit_sequence);
DECLARE @written int;

-- The receipt that a row is going to lose is a contributor in the place of the one that it gets.
UPDATE c SET inbox_id = t.inbox_id, notification_id = t.notification_id
FROM [gatherer].contributor AS c
JOIN #flow_event AS s ON s.[key] = c.[key] AND s.inbox_id = c.inbox_id AND s.notification_id = c.notification_id
JOIN [gatherer].flow_event AS t ON t.[key] = s.[key]
WHERE t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id;

UPDATE t SET
    provider = s.provider, endpoint = s.endpoint, inbox_id = s.inbox_id,
    notification_id = s.notification_id, received_at = s.received_at, occurred_at = s.occurred_at,
    occurred_at_source = s.occurred_at_source, account_id = s.account_id, is_test = s.is_test,
    event = s.event, flow_id = s.flow_id, message = s.message, old_status = s.old_status,
    new_status = s.new_status, alert_state = s.alert_state, threshold = s.threshold,
    error_rate = s.error_rate, availability = s.availability, p50_latency_ms = s.p50_latency_ms,
    p90_latency_ms = s.p90_latency_ms, requests_count = s.requests_count, errors = s.errors,
    warning = s.warning, details = s.details, changed_at = @now, commit_number = @number
FROM [gatherer].flow_event AS t
JOIN #flow_event AS s ON s.[key] = t.[key];
SET @written = @@ROWCOUNT;

SELECT @written AS staged, @written AS written, @@TRANCOUNT AS transactions;
