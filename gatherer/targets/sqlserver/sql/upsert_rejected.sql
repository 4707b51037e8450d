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
FROM $(schema).rejected AS t
JOIN #rejected AS s ON s.[key] = t.[key]
WHERE t.resolved_at IS NOT NULL
    AND (t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id)
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).contributor AS c
        WHERE c.[key] = s.[key] AND c.inbox_id = s.inbox_id AND c.notification_id = s.notification_id
    );

-- Both receipts of a rejection that is stored become contributors, of which the row then names one.
INSERT INTO $(schema).contributor ([key], inbox_id, notification_id)
SELECT r.[key], r.inbox_id, r.notification_id
FROM (
    SELECT s.[key], s.inbox_id, s.notification_id FROM #rejected AS s
    JOIN $(schema).rejected AS t ON t.[key] = s.[key]
    UNION
    SELECT t.[key], t.inbox_id, t.notification_id FROM #rejected AS s
    JOIN $(schema).rejected AS t ON t.[key] = s.[key]
) AS r
WHERE NOT EXISTS (
    SELECT 1 FROM $(schema).contributor AS c
    WHERE c.[key] = r.[key] AND c.inbox_id = r.inbox_id AND c.notification_id = r.notification_id
);

-- The values of these four columns are ASCII, which has one binary order in every collation and encoding.
UPDATE t SET
    endpoint = s.endpoint, inbox_id = s.inbox_id, notification_id = s.notification_id, received_at = s.received_at
FROM $(schema).rejected AS t
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
FROM $(schema).contributor AS c
JOIN #rejected AS s ON s.[key] = c.[key]
JOIN $(schema).rejected AS t
    ON t.[key] = c.[key] AND t.inbox_id = c.inbox_id AND t.notification_id = c.notification_id;

INSERT INTO $(schema).rejected (
    [key], provider, endpoint, inbox_id, notification_id, received_at, path, reason_class, reason, body_key,
    inserted_at
)
SELECT
    s.[key], s.provider, s.endpoint, s.inbox_id, s.notification_id, s.received_at, s.path, s.reason_class,
    s.reason, s.body_key, @now
FROM #rejected AS s
WHERE NOT EXISTS (SELECT 1 FROM $(schema).rejected AS t WITH (UPDLOCK, HOLDLOCK) WHERE t.[key] = s.[key]);
SET @inserted = @@ROWCOUNT;

SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
