-- The notifications with rejections, each once, with the bodies kept for them: with open rejections, or with any. Of
-- several that had the same body, the one that was received first.
-- Parameters: the key of the last body that was returned before; whether resolved rejections count as well.
SET NOCOUNT ON;
DECLARE @after binary(16) = ?, @resolved bit = ?;

SELECT TOP (100)
    n.body_key, r.notification_id, r.inbox_id, r.received_at, r.endpoint, r.provider, n.body, n.content_type
FROM $(schema).rejected_notification AS n
JOIN $(schema).rejected AS r ON r.id = (
    SELECT TOP (1) x.id FROM $(schema).rejected AS x
    WHERE x.body_key = n.body_key AND (@resolved = 1 OR x.resolved_at IS NULL)
    ORDER BY x.received_at, x.inbox_id, x.notification_id, x.endpoint, x.[key]
)
WHERE n.body_key > @after
ORDER BY n.body_key;
