-- The responses from :since on without a campaign, by kind. The rules are those of the view response_campaign, but the
-- cost is that of the responses in the period and in the attribution_hours before it.
WITH attribution AS (
    SELECT '-' || value || ' hours' AS time FROM setting WHERE name = 'attribution_hours'
),
recent AS (
    SELECT r.*, strftime('%Y-%m-%d %H:%M:%f', r.occurred_at, a.time) AS attributable_from
    FROM attribution AS a CROSS JOIN response AS r
    WHERE r.occurred_at >= :since AND r.is_test = 0
),
mapped_receipt AS MATERIALIZED (  -- of messages that the map names
    SELECT s.phone, s.business_phone, s.occurred_at
    FROM response AS s
    WHERE s.occurred_at >= (SELECT strftime('%Y-%m-%d %H:%M:%f', :since, time) FROM attribution)
        AND s.kind IN ('sent', 'delivered', 'read', 'played') AND s.is_test = 0 AND s.phone IS NOT NULL
        AND (
            EXISTS (SELECT 1 FROM message_map AS m WHERE m.message_id = s.message_id)
            OR EXISTS (
                SELECT 1 FROM message_map AS m
                WHERE m.client_reference = s.client_reference AND (m.phone = s.phone OR m.phone IS NULL)
            )
        )
)
SELECT r.kind, count(*) AS responses
FROM recent AS r
WHERE NOT EXISTS (SELECT 1 FROM message_map AS m WHERE m.message_id IN (r.message_id, r.about_message_id))
    AND NOT EXISTS (
        SELECT 1 FROM message_map AS m
        WHERE m.client_reference = r.client_reference
            AND (m.phone = r.phone OR m.phone IS NULL OR r.phone IS NULL)
    )
    AND NOT EXISTS (
        SELECT 1 FROM response AS s JOIN message_map AS m ON m.client_reference = s.client_reference
        WHERE s.message_id IN (r.message_id, r.about_message_id) AND s.is_test = 0
            AND s.kind IN ('sent', 'delivered', 'read', 'played', 'failed')
            AND (m.phone = s.phone OR m.phone IS NULL OR s.phone IS NULL)
    )
    AND NOT (
        r.kind IN ('replied', 'opted_out', 'opted_in') AND r.about_message_id IS NULL AND r.group_id IS NULL
        AND (
            EXISTS (
                SELECT 1 FROM message_map AS m
                WHERE m.phone = r.phone AND m.sent_at >= r.attributable_from AND m.sent_at <= r.occurred_at
                    AND (m.business_phone = r.business_phone OR m.business_phone IS NULL OR r.business_phone IS NULL)
            )
            OR EXISTS (
                SELECT 1 FROM mapped_receipt AS s
                WHERE s.phone = r.phone AND s.occurred_at >= r.attributable_from AND s.occurred_at <= r.occurred_at
                    AND (s.business_phone = r.business_phone OR s.business_phone IS NULL OR r.business_phone IS NULL)
            )
        )
    )
GROUP BY r.kind
ORDER BY r.kind;
