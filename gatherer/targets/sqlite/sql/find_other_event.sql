-- Other events that may be about a person, as in find_response.sql; the text is `details`.
SELECT *
FROM other_event
WHERE
    (
        occurred_at <= :until
        AND (
            phone IN (SELECT value FROM json_each(:phones))
            OR user_id IN (SELECT value FROM json_each(:user_ids))
            OR mentions(details)
        )
    )
    OR (
        phone IS NULL AND user_id IS NULL
        AND message_id IN (SELECT value FROM json_each(:message_ids))
    )
ORDER BY id
