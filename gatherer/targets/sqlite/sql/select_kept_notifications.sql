-- The notifications with rejections, each once, with the bodies kept for them: with open rejections, or with any. Of
-- several that had the same body, the one that was received first.
SELECT
    n.body_key, r.notification_id, r.inbox_id, r.received_at, r.endpoint, r.provider, n.body, n.content_type
FROM rejected_notification AS n
JOIN rejected AS r ON r.id = (
    SELECT id FROM rejected WHERE body_key = n.body_key AND (:resolved OR resolved_at IS NULL)
    ORDER BY received_at, inbox_id, notification_id, endpoint, key
    LIMIT 1
)
WHERE n.body_key > :after
ORDER BY n.body_key
LIMIT 100
