-- Stage rows of other_event.
--
-- First batch, once per connection: the temporary table that they are staged in. All its text compares byte by byte.
CREATE TABLE #other_event (
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
    family             nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
    name               nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    message_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    phone              nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    user_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    details            nvarchar(max) COLLATE Latin1_General_BIN2 NULL
);
GO
-- Second batch: stage up to 2 000 rows (lock escalation starts near 5 000). Parameter: the rows as JSON arrays in
-- the order of the columns. Text is read as nvarchar(max), so that no value is cut: the temporary table refuses one
-- that is too long for its column.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;
DECLARE @staged int;

DELETE FROM #other_event;
INSERT INTO #other_event (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, family, name, message_id, phone, user_id, details
)
SELECT
    CONVERT(binary(16), [key], 2), provider, endpoint, inbox_id, notification_id, received_at,
    occurred_at, occurred_at_source, account_id, is_test, family, name, message_id, phone, user_id,
    details
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
    family             nvarchar(max) '$[10]',
    name               nvarchar(max) '$[11]',
    message_id         nvarchar(max) '$[12]',
    phone              nvarchar(max) '$[13]',
    user_id            nvarchar(max) '$[14]',
    details            nvarchar(max) '$[15]'
);
SET @staged = @@ROWCOUNT;
SELECT @staged AS staged, @staged AS written, @@TRANCOUNT AS transactions;
GO
-- Insert the staged rows of other_event, or fill rows from another delivery of the same fact.
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
SELECT N'other_event', [key] FROM #other_event;
SET @staged = @@ROWCOUNT;

-- First result: stored rows that the staged row could change. A staged NULL never does. Lengths are compared as well,
-- because 'a' = 'a ' in T-SQL, in every collation. A text that was blanked is never filled again.
SELECT
    t.[key], t.provider, t.endpoint, t.inbox_id, t.notification_id, t.received_at, t.occurred_at,
    t.occurred_at_source, t.account_id, t.is_test, t.family, t.name, t.message_id, t.phone, t.user_id,
    t.details
FROM #other_event AS s
JOIN [gatherer].other_event AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) ON t.[key] = s.[key]
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
    OR s.family <> t.family OR DATALENGTH(s.family) <> DATALENGTH(t.family)
    OR s.name <> t.name OR DATALENGTH(s.name) <> DATALENGTH(t.name) OR (t.name IS NULL AND s.name IS NOT NULL)
    OR s.message_id <> t.message_id OR DATALENGTH(s.message_id) <> DATALENGTH(t.message_id) OR (t.message_id IS NULL AND s.message_id IS NOT NULL)
    OR s.phone <> t.phone OR DATALENGTH(s.phone) <> DATALENGTH(t.phone) OR (t.phone IS NULL AND s.phone IS NOT NULL)
    OR s.user_id <> t.user_id OR DATALENGTH(s.user_id) <> DATALENGTH(t.user_id) OR (t.user_id IS NULL AND s.user_id IS NOT NULL)
    OR s.details <> t.details COLLATE Latin1_General_BIN2 OR DATALENGTH(s.details) <> DATALENGTH(t.details) OR (t.details IS NULL AND s.details IS NOT NULL);

-- Second result: how many rows were new, by the word that they are counted under. The unique index is the real guard.
INSERT INTO [gatherer].other_event (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, family, name, message_id, phone, user_id, details, inserted_at, changed_at, commit_number
)
SELECT
    s.[key], s.provider, s.endpoint, s.inbox_id, s.notification_id, s.received_at, s.occurred_at,
    s.occurred_at_source, s.account_id, s.is_test, s.family, s.name, s.message_id, s.phone, s.user_id,
    s.details, @now, @now, @number
FROM #other_event AS s
WHERE NOT EXISTS (
    SELECT 1 FROM [gatherer].other_event AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) WHERE t.[key] = s.[key]
);
SET @inserted = @@ROWCOUNT;
SELECT N'other_event' AS word, @inserted AS inserted WHERE @inserted > 0;

-- A notification that tells a stored row again is a further contributor.
IF @inserted < @staged
    INSERT INTO [gatherer].contributor ([key], inbox_id, notification_id)
    SELECT s.[key], s.inbox_id, s.notification_id
    FROM #other_event AS s
    JOIN [gatherer].other_event AS t ON t.[key] = s.[key]
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
JOIN #other_event AS s ON s.[key] = c.[key] AND s.inbox_id = c.inbox_id AND s.notification_id = c.notification_id
JOIN [gatherer].other_event AS t ON t.[key] = s.[key]
WHERE t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id;

UPDATE t SET
    provider = s.provider, endpoint = s.endpoint, inbox_id = s.inbox_id,
    notification_id = s.notification_id, received_at = s.received_at, occurred_at = s.occurred_at,
    occurred_at_source = s.occurred_at_source, account_id = s.account_id, is_test = s.is_test,
    family = s.family, name = s.name, message_id = s.message_id, phone = s.phone, user_id = s.user_id,
    details = s.details, changed_at = @now, commit_number = @number
FROM [gatherer].other_event AS t
JOIN #other_event AS s ON s.[key] = t.[key];
SET @written = @@ROWCOUNT;

SELECT @written AS staged, @written AS written, @@TRANCOUNT AS transactions;
