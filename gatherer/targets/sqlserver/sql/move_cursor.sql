-- Store where a cursor is. Parameters: kind, name, both numbers; numbers below zero delete it. Not under the application lock:
-- a second execution does no harm.
SET NOCOUNT ON;
DECLARE @kind nvarchar(16) = ?, @name nvarchar(64) = ?, @commit_number bigint = ?, @map_number bigint = ?;

DELETE FROM $(schema).export_cursor WHERE kind = @kind AND name = @name AND @commit_number < 0;

UPDATE $(schema).export_cursor
SET commit_number = @commit_number, map_number = @map_number, moved_at = SYSUTCDATETIME()
WHERE kind = @kind AND name = @name;

INSERT INTO $(schema).export_cursor (kind, name, commit_number, map_number, moved_at)
SELECT @kind, @name, @commit_number, @map_number, SYSUTCDATETIME()
WHERE @commit_number >= 0
    AND NOT EXISTS (SELECT 1 FROM $(schema).export_cursor WHERE kind = @kind AND name = @name);
