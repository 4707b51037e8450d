-- The notifications with rejections, with the bodies kept for them. With open rejections: each body once for each
-- endpoint and provider that rejected it. With any: each body once. Of several with the same body, the one that was
-- received first.
SELECT
    n.body_key, r.notification_id, r.inbox_id, r.received_at, r.endpoint, r.provider, n.body, n.content_type
FROM (
    SELECT * FROM rejected_notification AS body
    WHERE body_key > :after
        AND (
            :resolved OR EXISTS (
                SELECT 1 FROM rejected AS x WHERE x.body_key = body.body_key AND x.resolved_at IS NULL
            )
        )
    ORDER BY body_key
    LIMIT 100
) AS n
JOIN rejected AS r ON r.body_key = n.body_key AND (:resolved OR r.resolved_at IS NULL)
WHERE NOT EXISTS (
    SELECT 1 FROM rejected AS x
    WHERE x.body_key = r.body_key
        AND (:resolved OR (x.resolved_at IS NULL AND x.endpoint = r.endpoint AND x.provider = r.provider))
        AND (x.received_at, x.inbox_id, x.notification_id, x.endpoint, x.key)
            < (r.received_at, r.inbox_id, r.notification_id, r.endpoint, r.key)
)
ORDER BY n.body_key, r.endpoint, r.provider
