-- Delete some of the pairs that were told before a time, and of which no response has an id any more.
DELETE FROM message_id_pair
WHERE id IN (
    SELECT p.id FROM message_id_pair AS p
    WHERE p.occurred_at < :before
        AND NOT EXISTS (
            SELECT 1 FROM response AS r WHERE r.message_id IN (p.message_id, p.provider_message_id)
        )
        AND NOT EXISTS (
            SELECT 1 FROM response AS r WHERE r.about_message_id IN (p.message_id, p.provider_message_id)
        )
    LIMIT :limit
)
