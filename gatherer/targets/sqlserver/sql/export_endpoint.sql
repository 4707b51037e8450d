-- One row if there is any response from the endpoint; the other parameters are not looked at. Parameters and RECOMPILE as in
-- export_response.sql.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @commit_after bigint = ?, @commit_to bigint = ?,
    @map_after bigint = ?, @map_to bigint = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;

SELECT TOP (1) endpoint
FROM $(schema).response
WHERE endpoint = @endpoint
OPTION (RECOMPILE);
