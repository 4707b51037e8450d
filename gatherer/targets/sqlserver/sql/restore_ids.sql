-- After pairs were removed: give the rows that had an id of such a pair the smallest id of the pairs that are left, or the
-- id that their notification told. Parameter: the time of writing.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM $(schema).commit_sequence);

UPDATE r SET
    message_id = COALESCE(c.message_id, r.original_message_id),
    original_message_id = CASE WHEN c.message_id IS NOT NULL THEN r.original_message_id END,
    changed_at = @now, commit_number = @number, told_commit_number = NULL
FROM $(schema).response AS r
OUTER APPLY (
    SELECT MIN(p.message_id) AS message_id FROM $(schema).message_id_pair AS p
    WHERE p.provider_message_id = r.original_message_id
) AS c
WHERE r.original_message_id IS NOT NULL AND r.message_id <> COALESCE(c.message_id, r.original_message_id);

UPDATE r SET
    about_message_id = COALESCE(c.message_id, r.original_about_id),
    original_about_id = CASE WHEN c.message_id IS NOT NULL THEN r.original_about_id END,
    changed_at = @now, commit_number = @number, told_commit_number = NULL
FROM $(schema).response AS r
OUTER APPLY (
    SELECT MIN(p.message_id) AS message_id FROM $(schema).message_id_pair AS p
    WHERE p.provider_message_id = r.original_about_id
) AS c
WHERE r.original_about_id IS NOT NULL AND r.about_message_id <> COALESCE(c.message_id, r.original_about_id);

SELECT 0 AS staged, 0 AS written, @@TRANCOUNT AS transactions;
