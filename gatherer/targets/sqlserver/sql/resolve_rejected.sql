-- First batch: the open rejections of bodies that were decoded. Parameter: keys of the bodies as a JSON list in hex.
SET NOCOUNT ON;
DECLARE @decoded nvarchar(max) = ?;

SELECT id, [key], path, body_key, endpoint, provider
FROM $(schema).rejected
WHERE resolved_at IS NULL
    AND body_key IN (SELECT CONVERT(binary(16), CAST(value AS char(32)), 2) FROM OPENJSON(@decoded));
GO
-- Second batch: resolve some. Parameters: ids of rejections as a JSON list; the time of writing.
SET NOCOUNT ON;
DECLARE @ids nvarchar(max) = ?, @now datetime2(3) = ?;
DECLARE @resolved int;

UPDATE $(schema).rejected SET resolved_at = @now
WHERE resolved_at IS NULL AND id IN (SELECT CAST(value AS bigint) FROM OPENJSON(@ids));
SET @resolved = @@ROWCOUNT;

SELECT @resolved AS staged, @resolved AS written, @@TRANCOUNT AS transactions;
