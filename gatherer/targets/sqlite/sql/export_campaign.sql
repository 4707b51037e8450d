-- Responses whose campaign is known, with what message_map says of it. A row counts as changed when the response
-- was, or when its place in the map was made: whichever came later; but not when all that happened was that its text
-- became too old to be kept: who imports responses took it for another one. Parameters as in export_response.sql.
SELECT
    m.communication_key, m.urn, coalesce(r.phone, m.phone) AS phone, r.kind, r.occurred_at, s.sent_at,
    coalesce(r.our_message_id, m.message_id) AS message_id, m.message_name, m.campaign,
    r.reply_text, r.emoji, r.error_title, r.error_details
FROM response_campaign AS r
JOIN message_map AS m ON m.id = r.map_id
LEFT JOIN mapped_message AS s ON s.map_id = m.id AND s.message_id = r.our_message_id
WHERE r.occurred_at >= :since AND r.occurred_at < :until
    AND (
        m.inserted_at >= :changed_from
        OR (
            r.changed_at >= :changed_from
            AND (r.blanked_at IS NULL OR r.blanked_at < r.changed_at OR r.inserted_at >= :changed_from)
        )
    )
    AND r.changed_at < :changed_to AND m.inserted_at < :changed_to
    AND (:endpoint = '' OR r.endpoint = :endpoint)
    AND (:kinds = '[]' OR r.kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY r.changed_at, r.id
