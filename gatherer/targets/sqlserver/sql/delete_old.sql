-- $(table) stands for one of the tables of records. First batch: how many of its rows occurred before a time.
-- Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;

SELECT COUNT(*) AS counted FROM $(schema).$(table) WHERE occurred_at < @before;
GO
-- Second batch: delete some of them. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;

DELETE TOP (2000) FROM $(schema).$(table) WHERE occurred_at < @before;

SELECT @@ROWCOUNT AS changed;
