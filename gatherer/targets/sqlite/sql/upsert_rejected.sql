-- One row per rejection. Redelivery changes nothing, except that the first receipt counts.
INSERT INTO rejected (
    key, provider, endpoint, inbox_id, notification_id, received_at, path, reason_class, reason, body_key,
    inserted_at
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
)
ON CONFLICT (key) DO UPDATE SET
    endpoint = excluded.endpoint,
    inbox_id = excluded.inbox_id,
    notification_id = excluded.notification_id,
    received_at = excluded.received_at
WHERE
    (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint)
        < (received_at, inbox_id, notification_id, endpoint)
