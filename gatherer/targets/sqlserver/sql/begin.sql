-- First batch, once per connection: the temporary table of the keys of one transaction, to count its rows after the
-- commit.
CREATE TABLE #applied (
    table_name nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,
    [key]      binary(16) NOT NULL
);
GO
-- Second batch: begin a transaction that holds the application lock. Two gatherers wait for each other here and nowhere
-- else, so they cannot deadlock. The lock ends with the transaction, or with the connection.
-- $(milliseconds): how long to wait. Not a parameter: the driver runs a batch with parameters as a procedure, and a
-- procedure that ends with another number of transactions than it began with is error 266.
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

-- All rows that the transaction writes get this number. The time of writing is the server's, for all gatherers.
IF @granted >= 0
    UPDATE $(schema).commit_sequence SET number = number + 1;

SELECT @granted AS granted, @@TRANCOUNT AS transactions, CONVERT(datetime2(3), SYSUTCDATETIME()) AS moment;
