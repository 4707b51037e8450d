-- How many responses of each kind were written in the range, real ones and test rows: what an export holds back is found
-- by comparison. A response of which only the text was blanked is not counted. Parameters as in export_response.sql.
SELECT kind, is_test, count(*) AS responses
FROM response AS r
WHERE NOT EXISTS (SELECT 1 FROM response_duplicate AS d WHERE d.id = r.id)
    AND occurred_at >= :since AND occurred_at < :until
    AND commit_number > :commit_after
    AND coalesce(told_commit_number, commit_number) > :commit_after AND coalesce(told_commit_number, commit_number) <= :commit_to
    AND (:endpoint = '' OR endpoint = :endpoint)
    AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))
GROUP BY kind, is_test
