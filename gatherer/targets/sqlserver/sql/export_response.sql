-- Responses to export: occurred in one range, written in another, at one endpoint or all (''), of some kinds or
-- all ('[]'), with or without test rows. The range of times excludes its end, a range of numbers its start.
-- RECOMPILE, so that the plan fits these ranges: the values of variables are unknown when a batch is compiled, and SQL
-- Server then assumes that a range is a fixed share of the table, and reads all of it for a few new rows.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @commit_after bigint = ?, @commit_to bigint = ?,
    @map_after bigint = ?, @map_to bigint = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;

SELECT
    provider, endpoint, occurred_at, received_at, changed_at, kind, message_id,
    COALESCE(provider_message_id, (
        SELECT MIN(p.provider_message_id) FROM $(schema).message_id_pair AS p WHERE p.message_id = r.message_id
    )) AS provider_message_id,
    about_message_id,
    phone, user_id, phone_number_id, business_phone, client_reference, profile_name, group_id, emoji, reply_type, reply_text,
    reply_payload, media_id, media_type, error_code, error_title, error_details, pricing_category, billable,
    account_id, is_test, details, blanked_at
FROM $(schema).response AS r
WHERE NOT EXISTS (SELECT 1 FROM $(schema).response_duplicate AS d WHERE d.id = r.id)
    AND occurred_at >= @since AND occurred_at < @until
    AND commit_number > @commit_after AND commit_number <= @commit_to
    AND (@include_tests = 1 OR is_test = 0)
    AND (@endpoint = N'' OR endpoint = @endpoint)
    AND (@kinds = N'[]' OR kind IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@kinds)))
ORDER BY commit_number, id
OPTION (RECOMPILE);
