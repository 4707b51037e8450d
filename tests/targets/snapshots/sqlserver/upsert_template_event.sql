-- Stage rows of template_event.
--
-- First batch, once per connection: the temporary table that they are staged in. All its text compares byte by byte.
CREATE TABLE #template_event (
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
    field              nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
    event              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    template_id        nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    template_name      nvarchar(512) COLLATE Latin1_General_BIN2 NULL,
    template_language  nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    template_category  nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    reason             nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    old_value          nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    new_value          nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    details            nvarchar(max) COLLATE Latin1_General_BIN2 NULL
);
GO
-- Second batch: stage up to 2 000 rows (lock escalation starts near 5 000). Parameter: the rows as JSON arrays in
-- the order of the columns. Text is read as nvarchar(max), so that no value is cut: the temporary table refuses one
-- that is too long for its column.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;
DECLARE @staged int;

DELETE FROM #template_event;
INSERT INTO #template_event (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, field, event, template_id, template_name, template_language, template_category,
    reason, old_value, new_value, details
)
SELECT
    CONVERT(binary(16), [key], 2), provider, endpoint, inbox_id, notification_id, received_at,
    occurred_at, occurred_at_source, account_id, is_test, field, event, template_id, template_name,
    template_language, template_category, reason, old_value, new_value, details
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
    field              nvarchar(max) '$[10]',
    event              nvarchar(max) '$[11]',
    template_id        nvarchar(max) '$[12]',
    template_name      nvarchar(max) '$[13]',
    template_language  nvarchar(max) '$[14]',
    template_category  nvarchar(max) '$[15]',
    reason             nvarchar(max) '$[16]',
    old_value          nvarchar(max) '$[17]',
    new_value          nvarchar(max) '$[18]',
    details            nvarchar(max) '$[19]'
);
SET @staged = @@ROWCOUNT;
SELECT @staged AS staged, @staged AS written, @@TRANCOUNT AS transactions;
GO
-- Insert the staged rows of template_event, or fill rows from another delivery of the same fact.
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
SELECT N'template_event', [key] FROM #template_event;
SET @staged = @@ROWCOUNT;

-- First result: stored rows that the staged row could change. A staged NULL never does. Lengths are compared as well,
-- because 'a' = 'a ' in T-SQL, in every collation. A text that was blanked is never filled again.
SELECT
    t.[key], t.provider, t.endpoint, t.inbox_id, t.notification_id, t.received_at, t.occurred_at,
    t.occurred_at_source, t.account_id, t.is_test, t.field, t.event, t.template_id, t.template_name,
    t.template_language, t.template_category, t.reason, t.old_value, t.new_value, t.details
FROM #template_event AS s
JOIN [gatherer].template_event AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) ON t.[key] = s.[key]
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
    OR s.field <> t.field OR DATALENGTH(s.field) <> DATALENGTH(t.field)
    OR s.event <> t.event OR DATALENGTH(s.event) <> DATALENGTH(t.event) OR (t.event IS NULL AND s.event IS NOT NULL)
    OR s.template_id <> t.template_id OR DATALENGTH(s.template_id) <> DATALENGTH(t.template_id) OR (t.template_id IS NULL AND s.template_id IS NOT NULL)
    OR s.template_name <> t.template_name OR DATALENGTH(s.template_name) <> DATALENGTH(t.template_name) OR (t.template_name IS NULL AND s.template_name IS NOT NULL)
    OR s.template_language <> t.template_language OR DATALENGTH(s.template_language) <> DATALENGTH(t.template_language) OR (t.template_language IS NULL AND s.template_language IS NOT NULL)
    OR s.template_category <> t.template_category OR DATALENGTH(s.template_category) <> DATALENGTH(t.template_category) OR (t.template_category IS NULL AND s.template_category IS NOT NULL)
    OR s.reason <> t.reason COLLATE Latin1_General_BIN2 OR DATALENGTH(s.reason) <> DATALENGTH(t.reason) OR (t.reason IS NULL AND s.reason IS NOT NULL)
    OR s.old_value <> t.old_value COLLATE Latin1_General_BIN2 OR DATALENGTH(s.old_value) <> DATALENGTH(t.old_value) OR (t.old_value IS NULL AND s.old_value IS NOT NULL)
    OR s.new_value <> t.new_value COLLATE Latin1_General_BIN2 OR DATALENGTH(s.new_value) <> DATALENGTH(t.new_value) OR (t.new_value IS NULL AND s.new_value IS NOT NULL)
    OR s.details <> t.details COLLATE Latin1_General_BIN2 OR DATALENGTH(s.details) <> DATALENGTH(t.details) OR (t.details IS NULL AND s.details IS NOT NULL);

-- Second result: how many rows were new, by the word that they are counted under. The unique index is the real guard.
INSERT INTO [gatherer].template_event (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, field, event, template_id, template_name, template_language, template_category,
    reason, old_value, new_value, details, inserted_at, changed_at, commit_number
)
SELECT
    s.[key], s.provider, s.endpoint, s.inbox_id, s.notification_id, s.received_at, s.occurred_at,
    s.occurred_at_source, s.account_id, s.is_test, s.field, s.event, s.template_id, s.template_name,
    s.template_language, s.template_category, s.reason, s.old_value, s.new_value, s.details, @now, @now, @number
FROM #template_event AS s
WHERE NOT EXISTS (
    SELECT 1 FROM [gatherer].template_event AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) WHERE t.[key] = s.[key]
);
SET @inserted = @@ROWCOUNT;
SELECT N'template_event' AS word, @inserted AS inserted WHERE @inserted > 0;

-- A notification that tells a stored row again is a further contributor.
IF @inserted < @staged
    INSERT INTO [gatherer].contributor ([key], inbox_id, notification_id)
    SELECT s.[key], s.inbox_id, s.notification_id
    FROM #template_event AS s
    JOIN [gatherer].template_event AS t ON t.[key] = s.[key]
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
JOIN #template_event AS s ON s.[key] = c.[key] AND s.inbox_id = c.inbox_id AND s.notification_id = c.notification_id
JOIN [gatherer].template_event AS t ON t.[key] = s.[key]
WHERE t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id;

UPDATE t SET
    provider = s.provider, endpoint = s.endpoint, inbox_id = s.inbox_id,
    notification_id = s.notification_id, received_at = s.received_at, occurred_at = s.occurred_at,
    occurred_at_source = s.occurred_at_source, account_id = s.account_id, is_test = s.is_test,
    field = s.field, event = s.event, template_id = s.template_id, template_name = s.template_name,
    template_language = s.template_language, template_category = s.template_category, reason = s.reason,
    old_value = s.old_value, new_value = s.new_value, details = s.details, changed_at = @now, commit_number = @number
FROM [gatherer].template_event AS t
JOIN #template_event AS s ON s.[key] = t.[key];
SET @written = @@ROWCOUNT;

SELECT @written AS staged, @written AS written, @@TRANCOUNT AS transactions;
