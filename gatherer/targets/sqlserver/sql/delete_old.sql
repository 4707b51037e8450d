-- $(table) stands for one of the tables of records. First batch: how many of its rows occurred before a time.
-- Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;

SELECT COUNT(*) AS counted FROM $(schema).$(table) WHERE occurred_at < @before;
GO
-- Second batch: delete some of them, and their contributors. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;
DECLARE @old TABLE (id bigint NOT NULL PRIMARY KEY, [key] binary(16) NOT NULL);
DECLARE @deleted int;

INSERT INTO @old (id, [key])
SELECT TOP (2000) id, [key] FROM $(schema).$(table) WHERE occurred_at < @before;

DELETE FROM $(schema).$(table) WHERE id IN (SELECT id FROM @old);
SET @deleted = @@ROWCOUNT;

DELETE FROM $(schema).contributor WHERE [key] IN (SELECT [key] FROM @old);

SELECT @deleted AS changed;
