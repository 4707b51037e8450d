-- Insert the staged rejections. Redelivery changes nothing, except that the first receipt counts.
-- Parameter: the time of writing.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?;
DECLARE @staged int, @inserted int;

INSERT INTO #applied (table_name, [key])
SELECT N'rejected', [key] FROM #rejected;
SET @staged = @@ROWCOUNT;

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
