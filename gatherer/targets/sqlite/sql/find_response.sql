-- Responses that may be about a person: up to a time, those with one of the person's phone numbers or user ids in a
-- column or in a text; and of any time, those about one of the person's messages that name no person. Lists are JSON.
-- `mentions` ignores the characters that may separate the digits of a number.
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
