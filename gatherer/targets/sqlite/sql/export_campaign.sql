-- Responses whose campaign is known, with the columns of message_map. A row counts as changed when the response
-- changed, when its row of the map was written, or when a receipt of its message, or two ids of it, linked it to that
-- row: the last of these. It does not count as changed when only its text was blanked: an importer would take it for a new one.
-- is_taken_back: a reaction that the person took back, and the row of its removal: no row to hand over. in_window: the
-- response itself was written in the range, not only linked to its campaign.
-- Parameters as in export_response.sql.
WITH receipt AS (
    SELECT message_id, client_reference, phone, commit_number
    FROM shown_response
    WHERE kind IN ('sent', 'delivered', 'read', 'played', 'failed')
)
SELECT
    m.communication_key, m.urn, coalesce(r.phone, m.phone) AS phone, r.kind, r.occurred_at, s.sent_at,
    coalesce(r.our_message_id, m.message_id) AS message_id, m.message_name, m.campaign,
    r.reply_text, r.emoji, r.error_title, r.error_details, r.is_test,
    CASE WHEN r.kind = 'reacted' AND (r.emoji = '' OR EXISTS (
        SELECT 1 FROM response AS x
        WHERE x.about_message_id = r.about_message_id AND x.kind = 'reacted' AND x.emoji = ''
            AND (x.phone = r.phone OR x.user_id = r.user_id)
            AND (x.occurred_at > r.occurred_at OR (x.occurred_at = r.occurred_at AND x.message_id > r.message_id))
    )) THEN 1 ELSE 0 END AS is_taken_back,
    CASE WHEN coalesce(r.told_commit_number, r.commit_number) > :commit_after THEN 1 ELSE 0 END AS in_window
FROM response_campaign AS r
JOIN message_map AS m ON m.id = r.map_id
JOIN message_map_change AS c ON c.map_id = m.id
LEFT JOIN mapped_message AS s ON s.map_id = m.id AND s.message_id = r.our_message_id
WHERE r.occurred_at >= :since AND r.occurred_at < :until
    AND (
        c.commit_number > :map_after
        OR coalesce(r.told_commit_number, r.commit_number) > :commit_after
        OR (
            r.our_message_id IN (
                SELECT q.message_id FROM receipt AS q
                WHERE q.commit_number > :commit_after AND q.commit_number <= :commit_to
            )
            -- Any receipt can show that an answer without a context came after the message, or that the message
            -- arrived. Otherwise the first receipt makes the link, and later ones change nothing.
            AND (
                r.rule = 'recent'
                OR NOT EXISTS (
                    SELECT 1 FROM receipt AS q
                    WHERE q.message_id = r.our_message_id AND q.commit_number <= :commit_after
                        AND (
                            q.message_id = m.message_id
                            OR EXISTS (
                                SELECT 1 FROM message_id_pair AS p
                                WHERE p.provider_message_id = m.message_id AND p.message_id = q.message_id
                                    AND p.commit_number <= :commit_after
                            )
                            OR (q.client_reference = m.client_reference AND q.phone IS NOT NULL)
                        )
                )
            )
        )
    )
    AND coalesce(r.told_commit_number, r.commit_number) <= :commit_to AND c.commit_number <= :map_to
    AND (:include_tests = 1 OR r.is_test = 0)
    AND (:endpoint = '' OR r.endpoint = :endpoint)
    AND (:kinds = '[]' OR r.kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY r.commit_number, r.id
