-- First batch: how many pairs were told before a time, and have no id that a response has. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;

SELECT COUNT(*) AS counted
FROM $(schema).message_id_pair AS p
WHERE p.occurred_at < @before
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).response AS r WHERE r.message_id IN (p.message_id, p.provider_message_id)
    )
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).response AS r WHERE r.about_message_id IN (p.message_id, p.provider_message_id)
    );
GO
-- Second batch: delete some of them. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;

DELETE FROM $(schema).message_id_pair
WHERE id IN (
    SELECT TOP (2000) p.id
    FROM $(schema).message_id_pair AS p
    WHERE p.occurred_at < @before
        AND NOT EXISTS (
            SELECT 1 FROM $(schema).response AS r WHERE r.message_id IN (p.message_id, p.provider_message_id)
        )
        AND NOT EXISTS (
            SELECT 1 FROM $(schema).response AS r WHERE r.about_message_id IN (p.message_id, p.provider_message_id)
        )
);

SELECT @@ROWCOUNT AS changed;
