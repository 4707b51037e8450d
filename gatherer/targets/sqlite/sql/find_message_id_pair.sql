-- Pairs of ids of a person's messages.
SELECT *
FROM message_id_pair
WHERE message_id IN (SELECT value FROM json_each(:message_ids))
    OR provider_message_id IN (SELECT value FROM json_each(:message_ids))
ORDER BY id
