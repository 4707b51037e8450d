-- The current state of each person and number of ours whose opt-out or opt-in was written in the range, or whose phone
-- number became known in it. The campaign is NULL if it is not known: no opt-out is held back for that.
-- Parameters as in export_response.sql.
SELECT
    o.phone, o.user_id, o.business_phone, o.phone_number_id, o.opted_out, o.since, o.source,
    c.campaign, c.communication_key, c.urn, r.is_test
FROM opt_out_current AS o
JOIN response AS r ON r.id = o.response_id
LEFT JOIN response_campaign AS c ON c.id = o.response_id
WHERE o.since >= :since AND o.since < :until
    AND coalesce(r.told_commit_number, r.commit_number) <= :commit_to
    AND (
        coalesce(r.told_commit_number, r.commit_number) > :commit_after
        OR (
            r.phone IS NULL AND o.phone IS NOT NULL AND o.user_id IN (
                SELECT q.user_id FROM response AS q
                WHERE q.commit_number > :commit_after AND q.commit_number <= :commit_to AND q.phone IS NOT NULL
            )
        )
    )
    AND (:include_tests = 1 OR r.is_test = 0)
    AND (:endpoint = '' OR r.endpoint = :endpoint)
ORDER BY r.commit_number, r.id
