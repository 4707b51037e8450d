-- One row if anything was written to a table of facts, or to message_map, in the range: a step of [[after_run]] is then
-- taken. The other parameters are not looked at. Parameters and RECOMPILE as in export_response.sql.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @commit_after bigint = ?, @commit_to bigint = ?,
    @map_after bigint = ?, @map_to bigint = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;

SELECT 1 AS changed
WHERE EXISTS (SELECT 1 FROM $(schema).response WHERE commit_number > @commit_after AND commit_number <= @commit_to)
    OR EXISTS (SELECT 1 FROM $(schema).other_event WHERE commit_number > @commit_after AND commit_number <= @commit_to)
    OR EXISTS (SELECT 1 FROM $(schema).template_event WHERE commit_number > @commit_after AND commit_number <= @commit_to)
    OR EXISTS (SELECT 1 FROM $(schema).flow_event WHERE commit_number > @commit_after AND commit_number <= @commit_to)
    OR EXISTS (SELECT 1 FROM $(schema).account_event WHERE commit_number > @commit_after AND commit_number <= @commit_to)
    OR EXISTS (
        SELECT 1 FROM $(schema).message_map
        WHERE version > CONVERT(binary(8), @map_after) AND version <= CONVERT(binary(8), @map_to)
    )
OPTION (RECOMPILE);
