-- First batch: how many answers occurred before a time and still have the text of the person. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;

SELECT COUNT(*) AS counted
FROM $(schema).response
WHERE blanked_at IS NULL AND occurred_at < @before AND kind IN (
    N'reacted', N'replied', N'edited', N'revoked', N'opted_out', N'opted_in', N'clicked', N'reply_marker'
);
GO
-- Second batch: blank the text of some of them; it is never filled again. Parameters: the time, the time of writing.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?, @now datetime2(3) = ?;

UPDATE $(schema).response SET
    reply_text = NULL, reply_payload = NULL, details = NULL, blanked_at = @now, changed_at = @now,
    commit_number = (SELECT number FROM $(schema).commit_sequence), told_commit_number = commit_number
WHERE id IN (
    SELECT TOP (2000) id FROM $(schema).response
    WHERE blanked_at IS NULL AND occurred_at < @before AND kind IN (
        N'reacted', N'replied', N'edited', N'revoked', N'opted_out', N'opted_in', N'clicked', N'reply_marker'
    )
);

SELECT @@ROWCOUNT AS changed;
