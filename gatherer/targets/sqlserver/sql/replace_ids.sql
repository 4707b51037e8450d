-- Put WhatsApp's id in the place of the provider's in the rows that this transaction wrote, or that a pair of this
-- transaction concerns; original_message_id and original_about_id keep the provider's. Of several ids that were told for
-- one, the smallest in binary order counts. Parameter: the time of writing.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM $(schema).commit_sequence);
DECLARE @row TABLE (id bigint NOT NULL PRIMARY KEY);

IF EXISTS (SELECT 1 FROM $(schema).message_id_pair)
BEGIN
    INSERT INTO @row (id)
    SELECT r.id FROM $(schema).response AS r
    WHERE r.commit_number = @number AND r.original_message_id IS NULL
        AND EXISTS (SELECT 1 FROM $(schema).message_id_pair AS p WHERE p.provider_message_id = r.message_id)
    UNION
    SELECT r.id FROM $(schema).message_id_pair AS p
    JOIN $(schema).response AS r ON r.message_id = p.provider_message_id
    WHERE p.commit_number = @number AND r.original_message_id IS NULL
    UNION
    SELECT r.id FROM $(schema).message_id_pair AS p
    JOIN $(schema).response AS r ON r.original_message_id = p.provider_message_id
    WHERE p.commit_number = @number AND p.message_id < r.message_id;

    UPDATE r SET
        message_id = (
            SELECT MIN(p.message_id) FROM $(schema).message_id_pair AS p
            WHERE p.provider_message_id = COALESCE(r.original_message_id, r.message_id)
        ),
        original_message_id = COALESCE(r.original_message_id, r.message_id),
        changed_at = @now, commit_number = @number, told_commit_number = NULL
    FROM $(schema).response AS r
    JOIN @row AS n ON n.id = r.id;

    DELETE FROM @row;
    INSERT INTO @row (id)
    SELECT r.id FROM $(schema).response AS r
    WHERE r.commit_number = @number AND r.original_about_id IS NULL AND r.about_message_id IS NOT NULL
        AND EXISTS (SELECT 1 FROM $(schema).message_id_pair AS p WHERE p.provider_message_id = r.about_message_id)
    UNION
    SELECT r.id FROM $(schema).message_id_pair AS p
    JOIN $(schema).response AS r ON r.about_message_id = p.provider_message_id
    WHERE p.commit_number = @number AND r.original_about_id IS NULL
    UNION
    SELECT r.id FROM $(schema).message_id_pair AS p
    JOIN $(schema).response AS r ON r.original_about_id = p.provider_message_id
    WHERE p.commit_number = @number AND p.message_id < r.about_message_id;

    UPDATE r SET
        about_message_id = (
            SELECT MIN(p.message_id) FROM $(schema).message_id_pair AS p
            WHERE p.provider_message_id = COALESCE(r.original_about_id, r.about_message_id)
        ),
        original_about_id = COALESCE(r.original_about_id, r.about_message_id),
        changed_at = @now, commit_number = @number, told_commit_number = NULL
    FROM $(schema).response AS r
    JOIN @row AS n ON n.id = r.id;
END;

SELECT 0 AS staged, 0 AS written, @@TRANCOUNT AS transactions;
