-- Store contributors of rows of $(table), except those that the rows name themselves.
-- Parameter: keys in hex, inboxes and notifications as JSON arrays.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;
DECLARE @told TABLE (
    [key]           binary(16) NOT NULL,
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id bigint NOT NULL
);
DECLARE @staged int;

INSERT INTO @told ([key], inbox_id, notification_id)
SELECT CONVERT(binary(16), [key], 2), inbox_id, notification_id
FROM OPENJSON(@rows) WITH ([key] char(32) '$[0]', inbox_id nvarchar(64) '$[1]', notification_id bigint '$[2]');
SET @staged = @@ROWCOUNT;

-- One more notification opens a resolved rejection again.
IF N'$(table)' = N'rejected'
    UPDATE t SET resolved_at = NULL
    FROM $(schema).rejected AS t
    JOIN @told AS s ON s.[key] = t.[key]
    WHERE t.resolved_at IS NOT NULL
        AND (t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id)
        AND NOT EXISTS (
            SELECT 1 FROM $(schema).contributor AS c
            WHERE c.[key] = s.[key] AND c.inbox_id = s.inbox_id AND c.notification_id = s.notification_id
        );

INSERT INTO $(schema).contributor ([key], inbox_id, notification_id)
SELECT s.[key], s.inbox_id, s.notification_id
FROM @told AS s
JOIN $(schema).$(table) AS t ON t.[key] = s.[key]
WHERE (t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id)
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).contributor AS c
        WHERE c.[key] = s.[key] AND c.inbox_id = s.inbox_id AND c.notification_id = s.notification_id
    );

SELECT @staged AS staged, @staged AS written, @@TRANCOUNT AS transactions;
