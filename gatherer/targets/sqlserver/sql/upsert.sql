-- Insert the staged rows of $(table), or fill rows from another delivery of the same fact.
--
-- Where two deliveries contradict each other, gatherer/model/merge.py alone decides which value wins: UTF-16, in which
-- SQL Server sorts, and UTF-8, in which SQLite sorts, put characters beyond the Basic Multilingual Plane in different
-- places. So the server finds what is new and what differs, and takes the merged rows back.
-- No MERGE: it is two statements under one name, with races and defects of its own.
--
-- First batch, inside a transaction that holds the application lock. Parameter: the time of writing.
-- FORCESEEK, because a scan under HOLDLOCK would lock every row that it passes.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM $(schema).commit_sequence);
DECLARE @staged int, @inserted int;
$(new_table)

INSERT INTO #applied (table_name, [key])
SELECT N'$(table)', [key] FROM #$(table);
SET @staged = @@ROWCOUNT;

-- First result: stored rows that the staged row could change. A staged NULL never does. Lengths are compared as well,
-- because 'a' = 'a ' in T-SQL, in every collation. A text that was blanked is never filled again.
SELECT
    $(stored)
FROM #$(table) AS s
JOIN $(schema).$(table) AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) ON t.[key] = s.[key]
WHERE
    s.received_at < t.received_at
    OR (
        s.received_at = t.received_at
        AND (
            s.inbox_id <> t.inbox_id OR s.notification_id <> t.notification_id OR s.endpoint <> t.endpoint
            OR s.provider <> t.provider
        )
    )
    OR $(differs);

-- Second result: how many rows were new, by the word that they are counted under. The unique index is the real guard.
INSERT INTO $(schema).$(table) (
    $(columns), inserted_at, changed_at, commit_number
)
$(output)
SELECT
    $(staged), @now, @now, @number
FROM #$(table) AS s
WHERE NOT EXISTS (
    SELECT 1 FROM $(schema).$(table) AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) WHERE t.[key] = s.[key]
);
SET @inserted = @@ROWCOUNT;
$(counts)

-- A notification that tells a stored row again is a further contributor.
IF @inserted < @staged
    INSERT INTO $(schema).contributor ([key], inbox_id, notification_id)
    SELECT s.[key], s.inbox_id, s.notification_id
    FROM #$(table) AS s
    JOIN $(schema).$(table) AS t ON t.[key] = s.[key]
    WHERE (t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id)
        AND NOT EXISTS (
            SELECT 1 FROM $(schema).contributor AS c
            WHERE c.[key] = s.[key] AND c.inbox_id = s.inbox_id AND c.notification_id = s.notification_id
        );

-- Last result: the proof that all of this ran, and that the transaction is still open.
SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
GO
-- Second batch, with merged rows staged: their keys are stored and locked. Parameter: the time of writing.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM $(schema).commit_sequence);
DECLARE @written int;

-- The receipt that a row is going to lose is a contributor in the place of the one that it gets.
UPDATE c SET inbox_id = t.inbox_id, notification_id = t.notification_id
FROM $(schema).contributor AS c
JOIN #$(table) AS s ON s.[key] = c.[key] AND s.inbox_id = c.inbox_id AND s.notification_id = c.notification_id
JOIN $(schema).$(table) AS t ON t.[key] = s.[key]
WHERE t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id;

UPDATE t SET
    $(assignments), changed_at = @now, commit_number = @number
FROM $(schema).$(table) AS t
JOIN #$(table) AS s ON s.[key] = t.[key];
SET @written = @@ROWCOUNT;

SELECT @written AS staged, @written AS written, @@TRANCOUNT AS transactions;
