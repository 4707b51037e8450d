-- First batch: how many rejections were received before a time. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;

SELECT COUNT(*) AS counted FROM $(schema).rejected WHERE received_at < @before;
GO
-- Second batch: delete some of them, and the bodies that no other rejection refers to. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;
DECLARE @old TABLE (id bigint NOT NULL PRIMARY KEY, [key] binary(16) NOT NULL, body_key binary(16) NOT NULL);
DECLARE @deleted int;

INSERT INTO @old (id, [key], body_key)
SELECT TOP (2000) id, [key], body_key FROM $(schema).rejected WHERE received_at < @before;

DELETE FROM $(schema).rejected WHERE id IN (SELECT id FROM @old);
SET @deleted = @@ROWCOUNT;

DELETE FROM $(schema).contributor WHERE [key] IN (SELECT [key] FROM @old);

DELETE FROM $(schema).rejected_notification
WHERE body_key IN (SELECT body_key FROM @old) AND body_key NOT IN (SELECT body_key FROM $(schema).rejected);

SELECT @deleted AS changed;
