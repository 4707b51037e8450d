-- One row if there is any response from the endpoint; the other parameters are not looked at. Parameters and RECOMPILE as in
-- export_response.sql.
SET NOCOUNT ON;
DECLARE
    @since datetime2(3) = ?, @until datetime2(3) = ?, @changed_from datetime2(3) = ?, @changed_to datetime2(3) = ?,
    @endpoint nvarchar(100) = ?, @kinds nvarchar(max) = ?, @include_tests bit = ?;

SELECT TOP (1) endpoint
FROM $(schema).response
WHERE endpoint = @endpoint
OPTION (RECOMPILE);
