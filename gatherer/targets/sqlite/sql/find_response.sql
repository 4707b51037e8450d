-- Responses about a person: theirs up to a time; and, whenever it was, what is about one of their messages and says of
-- nobody else that it is theirs, or has a number or user id of theirs in its details. Lists are JSON.
SELECT *
FROM response
WHERE
    (
        occurred_at <= :until
        AND (
            phone IN (SELECT value FROM json_each(:phones))
            OR phone_raw IN (SELECT value FROM json_each(:phones))
            OR user_id IN (SELECT value FROM json_each(:user_ids))
        )
    )
    OR (
        phone IS NULL AND phone_raw IS NULL AND user_id IS NULL AND group_id IS NULL
        AND (
            message_id IN (SELECT value FROM json_each(:message_ids))
            OR about_message_id IN (SELECT value FROM json_each(:message_ids))
            OR (occurred_at <= :until AND EXISTS (SELECT 1 FROM json_each(:fragments) WHERE instr(details, value)))
        )
    )
ORDER BY id
