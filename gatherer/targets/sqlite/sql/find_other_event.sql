-- Other events about a person, as in find_response.sql; and those that have a number or user id of theirs somewhere in
-- their details.
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
