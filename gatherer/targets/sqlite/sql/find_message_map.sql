-- Rows of message_map about a person: with one of the phone numbers, in any way of writing it, or about one of the
-- messages. The site may write sent_at in any form that SQLite reads.
SELECT
    id, message_id, client_reference, campaign, communication_key, urn, phone, business_phone, message_name,
    coalesce(strftime('%Y-%m-%d %H:%M:%f', sent_at), sent_at) AS sent_at, inserted_at
FROM message_map
WHERE bare(phone) IN (SELECT value FROM json_each(:phones))
    OR message_id IN (SELECT value FROM json_each(:message_ids))
ORDER BY id
