-- One row if anything was written to a table of facts, or to message_map, in the range: a step of [[after_run]] is then
-- taken. The other parameters are not looked at. Parameters and RECOMPILE as in export_response.sql.
-- A row of message_map counts from a quarter of an hour after its inserted_at, as in export_campaign.sql.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @changed_from datetime2(3) = ?, @changed_to datetime2(3) = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;
DECLARE
    @mapped_from datetime2(3) = DATEADD(minute, -15, @changed_from),
    @mapped_to datetime2(3) = DATEADD(minute, -15, @changed_to);

SELECT 1 AS changed
WHERE EXISTS (SELECT 1 FROM $(schema).response WHERE changed_at >= @changed_from AND changed_at < @changed_to)
    OR EXISTS (SELECT 1 FROM $(schema).other_event WHERE changed_at >= @changed_from AND changed_at < @changed_to)
    OR EXISTS (SELECT 1 FROM $(schema).template_event WHERE changed_at >= @changed_from AND changed_at < @changed_to)
    OR EXISTS (SELECT 1 FROM $(schema).flow_event WHERE changed_at >= @changed_from AND changed_at < @changed_to)
    OR EXISTS (SELECT 1 FROM $(schema).account_event WHERE changed_at >= @changed_from AND changed_at < @changed_to)
    OR EXISTS (SELECT 1 FROM $(schema).message_map WHERE inserted_at >= @mapped_from AND inserted_at < @mapped_to)
OPTION (RECOMPILE);
