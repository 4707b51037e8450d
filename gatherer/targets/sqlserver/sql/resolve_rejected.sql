-- Resolve the open rejections of bodies that were decoded, except those that were rejected again.
-- Parameters: keys of the bodies, and of the rejections that stay open, as JSON lists in hex; the time of writing.
SET NOCOUNT ON;
DECLARE @decoded nvarchar(max) = ?, @again nvarchar(max) = ?, @now datetime2(3) = ?;

UPDATE $(schema).rejected SET resolved_at = @now
WHERE resolved_at IS NULL
    AND body_key IN (SELECT CONVERT(binary(16), CAST(value AS char(32)), 2) FROM OPENJSON(@decoded))
    AND [key] NOT IN (SELECT CONVERT(binary(16), CAST(value AS char(32)), 2) FROM OPENJSON(@again));

SELECT 1 AS staged, @@ROWCOUNT AS written, @@TRANCOUNT AS transactions;
