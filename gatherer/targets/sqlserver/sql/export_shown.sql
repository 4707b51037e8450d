-- One row if there are test rows, and the views show them; the parameters are not looked at. RECOMPILE as in
-- export_response.sql.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @commit_after bigint = ?, @commit_to bigint = ?,
    @map_after bigint = ?, @map_to bigint = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;

SELECT TOP (1) is_test
FROM $(schema).shown_response
WHERE is_test = 1
OPTION (RECOMPILE);
