-- Stage rows of rejected.
--
-- First batch, once per connection: the temporary table that they are staged in. All its text compares byte by byte.
CREATE TABLE #rejected (
    [key]              binary(16) NOT NULL,
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id    bigint NOT NULL,
    received_at        datetime2(3) NOT NULL,
    path               nvarchar(max) COLLATE Latin1_General_BIN2 NOT NULL,
    reason_class       nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,
    reason             nvarchar(max) COLLATE Latin1_General_BIN2 NOT NULL,
    body_key           binary(16) NOT NULL
);
GO
-- Second batch: stage up to 2 000 rows (lock escalation starts near 5 000). Parameter: the rows as JSON arrays in
-- the order of the columns. Text is read as nvarchar(max), so that no value is cut: the temporary table refuses one
-- that is too long for its column.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;
DECLARE @staged int;

DELETE FROM #rejected;
INSERT INTO #rejected (
    [key], provider, endpoint, inbox_id, notification_id, received_at, path, reason_class, reason,
    body_key
)
SELECT
    CONVERT(binary(16), [key], 2), provider, endpoint, inbox_id, notification_id, received_at, path,
    reason_class, reason, CONVERT(binary(16), body_key, 2)
FROM OPENJSON(@rows) WITH (
    [key]              char(32) '$[0]',
    provider           nvarchar(max) '$[1]',
    endpoint           nvarchar(max) '$[2]',
    inbox_id           nvarchar(max) '$[3]',
    notification_id    bigint '$[4]',
    received_at        datetime2(3) '$[5]',
    path               nvarchar(max) '$[6]',
    reason_class       nvarchar(max) '$[7]',
    reason             nvarchar(max) '$[8]',
    body_key           char(32) '$[9]'
);
SET @staged = @@ROWCOUNT;
SELECT @staged AS staged, @staged AS written, @@TRANCOUNT AS transactions;
GO
-- Insert the staged rejections. Redelivery changes nothing, except that the first receipt counts, and that one more
-- notification opens a resolved rejection again.
-- Parameter: the time of writing.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?;
DECLARE @staged int, @inserted int;

INSERT INTO #applied (table_name, [key])
SELECT N'rejected', [key] FROM #rejected;
SET @staged = @@ROWCOUNT;

UPDATE t SET resolved_at = NULL
FROM [gatherer].rejected AS t
JOIN #rejected AS s ON s.[key] = t.[key]
WHERE t.resolved_at IS NOT NULL
    AND (t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id)
    AND NOT EXISTS (
        SELECT 1 FROM [gatherer].contributor AS c
        WHERE c.[key] = s.[key] AND c.inbox_id = s.inbox_id AND c.notification_id = s.notification_id
    );

-- Both receipts of a rejection that is stored become contributors, of which the row then names one.
INSERT INTO [gatherer].contributor ([key], inbox_id, notification_id)
SELECT r.[key], r.inbox_id, r.notification_id
FROM (
    SELECT s.[key], s.inbox_id, s.notification_id FROM #rejected AS s
    JOIN [gatherer].rejected AS t ON t.[key] = s.[key]
    UNION
    SELECT t.[key], t.inbox_id, t.notification_id FROM #rejected AS s
    JOIN [gatherer].rejected AS t ON t.[key] = s.[key]
) AS r
WHERE NOT EXISTS (
    SELECT 1 FROM [gatherer].contributor AS c
    WHERE c.[key] = r.[key] AND c.inbox_id = r.inbox_id AND c.notification_id = r.notification_id
);

-- The values of these four columns are ASCII, which has one binary order in every collation and encoding.
UPDATE t SET
    endpoint = s.endpoint, inbox_id = s.inbox_id, notification_id = s.notification_id, received_at = s.received_at
FROM [gatherer].rejected AS t
JOIN #rejected AS s ON s.[key] = t.[key]
WHERE
    s.received_at < t.received_at
    OR (s.received_at = t.received_at AND s.inbox_id < t.inbox_id)
    OR (s.received_at = t.received_at AND s.inbox_id = t.inbox_id AND s.notification_id < t.notification_id)
    OR (
        s.received_at = t.received_at AND s.inbox_id = t.inbox_id AND s.notification_id = t.notification_id
        AND s.endpoint < t.endpoint
    );

DELETE c
FROM [gatherer].contributor AS c
JOIN #rejected AS s ON s.[key] = c.[key]
JOIN [gatherer].rejected AS t
    ON t.[key] = c.[key] AND t.inbox_id = c.inbox_id AND t.notification_id = c.notification_id;

INSERT INTO [gatherer].rejected (
    [key], provider, endpoint, inbox_id, notification_id, received_at, path, reason_class, reason, body_key,
    inserted_at
)
SELECT
    s.[key], s.provider, s.endpoint, s.inbox_id, s.notification_id, s.received_at, s.path, s.reason_class,
    s.reason, s.body_key, @now
FROM #rejected AS s
WHERE NOT EXISTS (SELECT 1 FROM [gatherer].rejected AS t WITH (UPDLOCK, HOLDLOCK) WHERE t.[key] = s.[key]);
SET @inserted = @@ROWCOUNT;

SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
