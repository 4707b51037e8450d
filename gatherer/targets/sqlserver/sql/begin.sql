-- Where the keys of one transaction are kept, to count its rows after the commit. First batch, once per connection.
CREATE TABLE #applied (
    table_name nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,
    [key]      binary(16) NOT NULL
);
GO
-- Begin a transaction, alone: batches of two gatherers wait for each other here, and nowhere else, so that they
-- never meet in the middle. The lock ends with the transaction, or with the connection.
-- $(milliseconds): how long to wait. No parameter: what has one runs as a procedure, and a procedure that ends with
-- another number of transactions than it began with is error 266.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @granted int;

DELETE FROM #applied;
BEGIN TRANSACTION;
EXEC @granted = sp_getapplock
    @Resource = N'gatherer $(schema)', @LockMode = N'Exclusive', @LockOwner = N'Transaction',
    @LockTimeout = $(milliseconds);
IF @granted < 0
    ROLLBACK TRANSACTION;

-- The time of writing is taken here, by one clock for all, and never goes back: whoever reads by changed_at up to
-- the time of `horizon.sql` misses nothing.
DECLARE @now datetime2(3) = SYSUTCDATETIME(), @latest datetime2(3) = NULL;
IF @granted >= 0
    SELECT @latest = MAX(changed_at) FROM $(schema).response;

SELECT
    @granted AS granted, @@TRANCOUNT AS transactions,
    CASE WHEN @latest > @now THEN @latest ELSE @now END AS moment;
