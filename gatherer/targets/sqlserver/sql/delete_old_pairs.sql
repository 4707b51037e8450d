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
-- Second batch: delete some of them, and their contributors. Parameter: the time.
SET NOCOUNT ON;
DECLARE @before datetime2(3) = ?;
DECLARE @old TABLE (id bigint NOT NULL PRIMARY KEY, [key] binary(16) NOT NULL);
DECLARE @deleted int;

INSERT INTO @old (id, [key])
SELECT TOP (2000) p.id, p.[key]
FROM $(schema).message_id_pair AS p
WHERE p.occurred_at < @before
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).response AS r WHERE r.message_id IN (p.message_id, p.provider_message_id)
    )
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).response AS r WHERE r.about_message_id IN (p.message_id, p.provider_message_id)
    );

DELETE FROM $(schema).message_id_pair WHERE id IN (SELECT id FROM @old);
SET @deleted = @@ROWCOUNT;

DELETE FROM $(schema).contributor WHERE [key] IN (SELECT [key] FROM @old);

SELECT @deleted AS changed;
