-- Responses to export: occurred in one range, written in another, at one endpoint or all (''), of some kinds or
-- all ('[]'), with or without test rows. The range of times excludes its end, a range of numbers its start.
SELECT
    provider, endpoint, occurred_at, received_at, changed_at, kind, message_id,
    coalesce(provider_message_id, (
        SELECT min(p.provider_message_id) FROM message_id_pair AS p WHERE p.message_id = r.message_id
    )) AS provider_message_id,
    about_message_id,
    phone, user_id, phone_number_id, business_phone, client_reference, profile_name, group_id, emoji, reply_type, reply_text,
    reply_payload, media_id, media_type, error_code, error_title, error_details, pricing_category, billable,
    account_id, is_test, details, blanked_at
FROM response AS r
WHERE NOT EXISTS (SELECT 1 FROM response_duplicate AS d WHERE d.id = r.id)
    AND occurred_at >= :since AND occurred_at < :until
    AND commit_number > :commit_after AND commit_number <= :commit_to
    AND (:include_tests = 1 OR is_test = 0)
    AND (:endpoint = '' OR endpoint = :endpoint)
    AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY commit_number, id
