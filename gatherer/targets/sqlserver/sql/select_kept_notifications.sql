-- The notifications with rejections, with the bodies kept for them. With open rejections: each body once for each
-- endpoint and provider that rejected it. With any: each body once. Of several with the same body, the one that was
-- received first.
-- Parameters: the key of the last body that was returned before; whether resolved rejections count as well.
SET NOCOUNT ON;
DECLARE @after binary(16) = ?, @resolved bit = ?;

SELECT
    n.body_key, r.notification_id, r.inbox_id, r.received_at, r.endpoint, r.provider, n.body, n.content_type
FROM (
    SELECT TOP (100) b.body_key, b.body, b.content_type
    FROM $(schema).rejected_notification AS b
    WHERE b.body_key > @after
        AND (
            @resolved = 1 OR EXISTS (
                SELECT 1 FROM $(schema).rejected AS x WHERE x.body_key = b.body_key AND x.resolved_at IS NULL
            )
        )
    ORDER BY b.body_key
) AS n
CROSS APPLY (
    SELECT
        x.notification_id, x.inbox_id, x.received_at, x.endpoint, x.provider,
        ROW_NUMBER() OVER (
            PARTITION BY
                CASE WHEN @resolved = 1 THEN N'' ELSE x.endpoint END,
                CASE WHEN @resolved = 1 THEN N'' ELSE x.provider END
            ORDER BY x.received_at, x.inbox_id, x.notification_id, x.endpoint, x.[key]
        ) AS place
    FROM $(schema).rejected AS x
    WHERE x.body_key = n.body_key AND (@resolved = 1 OR x.resolved_at IS NULL)
) AS r
WHERE r.place = 1
ORDER BY n.body_key, r.endpoint, r.provider;
