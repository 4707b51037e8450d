-- The responses from a time on without a campaign, by kind. The rules are those of the view response_campaign, but each
-- response looks for its rows in the map by index, so that the cost is that of the responses in the period.
-- Parameter: the time.
SET NOCOUNT ON;
DECLARE @since datetime2(3) = ?;
DECLARE @hours int = (SELECT CAST(value AS int) FROM $(schema).setting WHERE name = N'attribution_hours');

SELECT r.kind, COUNT_BIG(*) AS responses
FROM $(schema).response AS r
WHERE r.occurred_at >= @since AND r.is_test = 0
    AND NOT EXISTS (SELECT 1 FROM $(schema).message_map AS m WHERE m.message_id = r.message_id)
    AND NOT EXISTS (SELECT 1 FROM $(schema).message_map AS m WHERE m.message_id = r.about_message_id)
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).message_map AS m
        WHERE m.client_reference = r.client_reference
            AND DATALENGTH(m.client_reference) = DATALENGTH(r.client_reference)
            AND (m.phone = r.phone OR m.phone IS NULL OR r.phone IS NULL)
    )
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).response AS s
        JOIN $(schema).message_map AS m ON m.client_reference = s.client_reference
            AND DATALENGTH(m.client_reference) = DATALENGTH(s.client_reference)
        WHERE s.message_id IN (r.message_id, r.about_message_id) AND s.is_test = 0
            AND s.kind IN (N'sent', N'delivered', N'read', N'played', N'failed')
            AND (m.phone = s.phone OR m.phone IS NULL OR s.phone IS NULL)
    )
    AND NOT (
        r.kind IN (N'replied', N'opted_out', N'opted_in') AND r.about_message_id IS NULL AND r.group_id IS NULL
        AND (
            EXISTS (
                SELECT 1 FROM $(schema).message_map AS m
                WHERE m.phone = r.phone
                    AND m.sent_at >= DATEADD(hour, -@hours, r.occurred_at) AND m.sent_at <= r.occurred_at
                    AND (m.business_phone = r.business_phone OR m.business_phone IS NULL OR r.business_phone IS NULL)
            )
            OR EXISTS (
                SELECT 1 FROM $(schema).response AS s
                WHERE s.phone = r.phone AND s.is_test = 0
                    AND s.occurred_at >= DATEADD(hour, -@hours, r.occurred_at) AND s.occurred_at <= r.occurred_at
                    AND s.kind IN (N'sent', N'delivered', N'read', N'played')
                    AND (s.business_phone = r.business_phone OR s.business_phone IS NULL OR r.business_phone IS NULL)
                    AND (
                        EXISTS (SELECT 1 FROM $(schema).message_map AS m WHERE m.message_id = s.message_id)
                        OR EXISTS (
                            SELECT 1 FROM $(schema).message_map AS m
                            WHERE m.client_reference = s.client_reference
                                AND DATALENGTH(m.client_reference) = DATALENGTH(s.client_reference)
                                AND (m.phone = s.phone OR m.phone IS NULL OR s.phone IS NULL)
                        )
                    )
            )
        )
    )
GROUP BY r.kind
ORDER BY r.kind
OPTION (RECOMPILE);
