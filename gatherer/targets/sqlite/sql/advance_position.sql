-- Advance the position of an inbox. It never moves back, even if another gatherer has moved it in the meantime.
INSERT INTO inbox_position (inbox_id, notification_id, digest, changed_at) VALUES (?, ?, ?, ?)
ON CONFLICT (inbox_id) DO UPDATE SET
    notification_id = excluded.notification_id,
    digest = excluded.digest,
    changed_at = excluded.changed_at
WHERE
    excluded.notification_id > notification_id
