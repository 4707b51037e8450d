-- The mapped messages that were sent from :since to :until, by campaign, and those of them without any receipt. A row
-- without a time of sending counts by the time at which it was inserted. Rows without id and reference are left out.
WITH mapped AS (
    SELECT message_id, client_reference, campaign, phone FROM message_map
    WHERE (sent_at >= :since AND sent_at < :until)
        OR (sent_at IS NULL AND inserted_at >= :since AND inserted_at < :until)
),
receipt AS MATERIALIZED (  -- by reference, for which the table has no index; a day for clocks that differ
    SELECT client_reference, phone FROM response
    WHERE occurred_at >= datetime(:since, '-1 day') AND client_reference IS NOT NULL
        AND kind IN ('sent', 'delivered', 'read', 'played', 'failed')
),
message AS MATERIALIZED (
    SELECT
        campaign,
        NOT EXISTS (
            SELECT 1 FROM response AS r
            WHERE r.message_id = m.message_id AND r.kind IN ('sent', 'delivered', 'read', 'played', 'failed')
        )
        AND NOT EXISTS (
            SELECT 1 FROM response AS r
            WHERE r.provider_message_id = m.message_id
                AND r.kind IN ('sent', 'delivered', 'read', 'played', 'failed')
        )
        AND NOT EXISTS (
            SELECT 1 FROM receipt AS r
            WHERE r.client_reference = m.client_reference
                AND (r.phone = m.phone OR r.phone IS NULL OR m.phone IS NULL)
        ) AS without_receipt
    FROM mapped AS m
    WHERE m.message_id IS NOT NULL OR m.client_reference IS NOT NULL
)
SELECT campaign, count(*) AS mapped, sum(without_receipt) AS without_receipt
FROM message
GROUP BY campaign
ORDER BY 3 DESC, campaign;
