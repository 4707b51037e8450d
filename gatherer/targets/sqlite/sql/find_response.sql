-- Responses about a person: theirs up to a time; what has a number or user id of theirs in its texts up to then; and,
-- whenever it was, what is about one of their messages and says of nobody else that it is theirs. Lists are JSON.
-- Numbers in texts are written in many ways: `mentions` leaves out what may stand between their digits.
SELECT *
FROM response
WHERE
    (
        occurred_at <= :until
        AND (
            phone IN (SELECT value FROM json_each(:phones))
            OR phone_raw IN (SELECT value FROM json_each(:phones))
            OR user_id IN (SELECT value FROM json_each(:user_ids))
            OR mentions(details, reply_payload, reply_text, client_reference)
        )
    )
    OR (
        phone IS NULL AND phone_raw IS NULL AND user_id IS NULL AND group_id IS NULL
        AND (
            message_id IN (SELECT value FROM json_each(:message_ids))
            OR about_message_id IN (SELECT value FROM json_each(:message_ids))
        )
    )
ORDER BY id
