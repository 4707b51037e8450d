-- Advance the position of an inbox. It never moves back, even if another gatherer has moved it in the meantime.
-- Parameters: inbox, notification, digest of that notification, time of writing.
SET NOCOUNT ON;
DECLARE @inbox_id nvarchar(64) = ?, @notification_id bigint = ?, @digest binary(16) = ?, @now datetime2(3) = ?;

UPDATE $(schema).inbox_position WITH (UPDLOCK, HOLDLOCK)
SET notification_id = @notification_id, digest = @digest, changed_at = @now
WHERE inbox_id = @inbox_id AND notification_id < @notification_id;

INSERT INTO $(schema).inbox_position (inbox_id, notification_id, digest, changed_at)
SELECT @inbox_id, @notification_id, @digest, @now
WHERE NOT EXISTS (
    SELECT 1 FROM $(schema).inbox_position WITH (UPDLOCK, HOLDLOCK) WHERE inbox_id = @inbox_id
);

-- The proof that all of this ran, and that the transaction is still open.
SELECT 1 AS staged, 1 AS written, @@TRANCOUNT AS transactions;
