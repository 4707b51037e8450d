-- The mapped messages that were sent in a period, by campaign, and those of them without any receipt. A row without a
-- time of sending counts by the time at which it was inserted. Rows without id and reference are left out.
-- Parameters: the beginning and the end of the period.
SET NOCOUNT ON;
DECLARE @since datetime2(3) = ?, @until datetime2(3) = ?;

SELECT campaign, COUNT_BIG(*) AS mapped, COUNT_BIG(*) - SUM(CAST(has_receipt AS bigint)) AS without_receipt
FROM (
    SELECT
        m.campaign,
        CASE
            WHEN EXISTS (
                SELECT 1 FROM $(schema).response AS r
                WHERE r.message_id = m.message_id AND r.kind IN (N'sent', N'delivered', N'read', N'played', N'failed')
            ) OR EXISTS (
                SELECT 1 FROM $(schema).response AS r
                WHERE r.provider_message_id = m.message_id
                    AND r.kind IN (N'sent', N'delivered', N'read', N'played', N'failed')
            ) OR EXISTS (
                SELECT 1 FROM $(schema).response AS r
                WHERE r.client_reference = m.client_reference
                    AND DATALENGTH(r.client_reference) = DATALENGTH(m.client_reference)
                    AND r.kind IN (N'sent', N'delivered', N'read', N'played', N'failed')
                    AND (r.phone = m.phone OR r.phone IS NULL OR m.phone IS NULL)
            ) THEN 1
            ELSE 0
        END AS has_receipt
    FROM (
        SELECT message_id, client_reference, campaign, phone FROM $(schema).message_map
        WHERE sent_at >= @since AND sent_at < @until
        UNION ALL
        SELECT message_id, client_reference, campaign, phone FROM $(schema).message_map
        WHERE sent_at IS NULL AND inserted_at >= @since AND inserted_at < @until
    ) AS m
    WHERE m.message_id IS NOT NULL OR m.client_reference IS NOT NULL
) AS mapped
GROUP BY campaign
ORDER BY without_receipt DESC, campaign
OPTION (RECOMPILE);
