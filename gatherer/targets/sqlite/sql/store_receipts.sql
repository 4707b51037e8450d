-- Store the later one of two receipts of a row of $(table) as a contributor: its own, and that of a delivery.
-- Parameters: key, inbox, notification and time of the delivery.
INSERT OR IGNORE INTO contributor (key, inbox_id, notification_id)
SELECT
    key,
    CASE WHEN (?4, ?2, ?3) < (received_at, inbox_id, notification_id) THEN inbox_id ELSE ?2 END,
    CASE WHEN (?4, ?2, ?3) < (received_at, inbox_id, notification_id) THEN notification_id ELSE ?3 END
FROM $(table)
WHERE key = ?1 AND (notification_id <> ?3 OR inbox_id <> ?2)
