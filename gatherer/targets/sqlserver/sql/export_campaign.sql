-- Responses whose campaign is known, with the columns of message_map. A row counts as changed when the response
-- changed, when its row of the map was written, or when a receipt of its message, or two ids of it, linked it to that
-- row: the last of these. It does not count as changed when only its text was blanked: an importer would take it for a new one.
-- is_taken_back: a reaction that the person took back, and the row of its removal: no row to hand over. in_window: the
-- response itself was written in the range, not only linked to its campaign.
-- Parameters and RECOMPILE as in export_response.sql.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @commit_after bigint = ?, @commit_to bigint = ?,
    @map_after bigint = ?, @map_to bigint = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;

WITH receipt AS (
    SELECT message_id, client_reference, phone, commit_number
    FROM $(schema).shown_response
    WHERE kind IN (N'sent', N'delivered', N'read', N'played', N'failed')
)
SELECT
    m.communication_key, m.urn, COALESCE(r.phone, m.phone) AS phone, r.kind, r.occurred_at, s.sent_at,
    COALESCE(r.our_message_id, m.message_id) AS message_id, m.message_name, m.campaign,
    r.reply_text, r.emoji, r.error_title, r.error_details, r.is_test,
    CASE WHEN r.kind = N'reacted' AND (DATALENGTH(r.emoji) = 0 OR EXISTS (
        SELECT 1 FROM $(schema).response AS x
        WHERE x.about_message_id = r.about_message_id AND x.kind = N'reacted' AND DATALENGTH(x.emoji) = 0
            AND (x.phone = r.phone OR x.user_id = r.user_id)
            AND (x.occurred_at > r.occurred_at OR (x.occurred_at = r.occurred_at AND x.message_id > r.message_id))
    )) THEN 1 ELSE 0 END AS is_taken_back,
    CASE WHEN COALESCE(r.told_commit_number, r.commit_number) > @commit_after THEN 1 ELSE 0 END AS in_window
FROM $(schema).response_campaign AS r
JOIN $(schema).message_map AS m ON m.id = r.map_id
LEFT JOIN $(schema).mapped_message AS s ON s.map_id = m.id AND s.message_id = r.our_message_id
WHERE r.occurred_at >= @since AND r.occurred_at < @until
    AND (
        m.version > CONVERT(binary(8), @map_after)
        OR COALESCE(r.told_commit_number, r.commit_number) > @commit_after
        OR (
            r.our_message_id IN (
                SELECT q.message_id FROM receipt AS q
                WHERE q.commit_number > @commit_after AND q.commit_number <= @commit_to
            )
            -- Any receipt can show that an answer without a context came after the message, or that the message
            -- arrived. Otherwise the first receipt makes the link, and later ones change nothing.
            AND (
                r.[rule] = N'recent'
                OR NOT EXISTS (
                    SELECT 1 FROM receipt AS q
                    WHERE q.message_id = r.our_message_id AND q.commit_number <= @commit_after
                        AND (
                            q.message_id = m.message_id
                            OR EXISTS (
                                SELECT 1 FROM $(schema).message_id_pair AS p
                                WHERE p.provider_message_id = m.message_id AND p.message_id = q.message_id
                                    AND p.commit_number <= @commit_after
                            )
                            OR (q.client_reference = m.client_reference
                                AND DATALENGTH(q.client_reference) = DATALENGTH(m.client_reference) AND q.phone IS NOT NULL)
                        )
                )
            )
        )
    )
    AND COALESCE(r.told_commit_number, r.commit_number) <= @commit_to AND m.version <= CONVERT(binary(8), @map_to)
    AND (@include_tests = 1 OR r.is_test = 0)
    AND (@endpoint = N'' OR r.endpoint = @endpoint)
    AND (@kinds = N'[]' OR r.kind IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@kinds)))
ORDER BY r.commit_number, r.id
OPTION (RECOMPILE);
