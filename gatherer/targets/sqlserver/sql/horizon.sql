-- A time before which no row will be written any more. Waits for the batch that a gatherer is writing, if there is one.
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
