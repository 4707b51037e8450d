-- How many responses of each kind were written in the range, real ones and test rows: what an export holds back is found
-- by comparison. A response of which only the text was blanked is not counted. Parameters and RECOMPILE as in
-- export_response.sql.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @commit_after bigint = ?, @commit_to bigint = ?,
    @map_after bigint = ?, @map_to bigint = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;

SELECT kind, is_test, COUNT_BIG(*) AS responses
FROM $(schema).response AS r
WHERE NOT EXISTS (SELECT 1 FROM $(schema).response_duplicate AS d WHERE d.id = r.id)
    AND occurred_at >= @since AND occurred_at < @until
    AND commit_number > @commit_after
    AND COALESCE(told_commit_number, commit_number) > @commit_after AND COALESCE(told_commit_number, commit_number) <= @commit_to
    AND (@endpoint = N'' OR endpoint = @endpoint)
    AND (@kinds = N'[]' OR kind IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@kinds)))
GROUP BY kind, is_test
OPTION (RECOMPILE);
