-- A time before which nothing is going to be written any more: waits for the batch that is being written, if one is.
-- Parameter: how many milliseconds to wait.
SET NOCOUNT ON;
DECLARE @milliseconds int = ?;
DECLARE @granted int;

BEGIN TRANSACTION;
EXEC @granted = sp_getapplock
    @Resource = N'gatherer $(schema)', @LockMode = N'Exclusive', @LockOwner = N'Transaction',
    @LockTimeout = @milliseconds;
DECLARE @now datetime2(3) = SYSUTCDATETIME();
ROLLBACK TRANSACTION;

SELECT @granted AS granted, @now AS moment;
