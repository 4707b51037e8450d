-- Open a resolved rejection again, because of a notification that is not known to have been rejected.
-- Parameters: key of the rejection, inbox and notification.
UPDATE rejected SET resolved_at = NULL
WHERE key = ?1 AND resolved_at IS NOT NULL AND (notification_id <> ?3 OR inbox_id <> ?2)
    AND NOT EXISTS (
        SELECT 1 FROM contributor WHERE key = ?1 AND inbox_id = ?2 AND notification_id = ?3
    )
