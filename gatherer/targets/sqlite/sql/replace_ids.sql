-- Put WhatsApp's id in the place of the provider's in $(column) of the rows that this transaction wrote, or that a pair
-- of this transaction concerns; $(original) keeps the provider's. Of several ids that were told for one, the smallest in
-- binary order counts.
UPDATE response SET
    $(column) = (
        SELECT min(p.message_id) FROM message_id_pair AS p
        WHERE p.provider_message_id = coalesce(response.$(original), response.$(column))
    ),
    $(original) = coalesce($(original), $(column)),
    changed_at = :now,
    commit_number = :number,
    told_commit_number = NULL
WHERE id IN (
    SELECT r.id FROM response AS r
    WHERE r.commit_number = :number AND r.$(original) IS NULL
        AND EXISTS (SELECT 1 FROM message_id_pair AS p WHERE p.provider_message_id = r.$(column))
    UNION
    SELECT r.id FROM message_id_pair AS p
    JOIN response AS r ON r.$(column) = p.provider_message_id
    WHERE p.commit_number = :number AND r.$(original) IS NULL
    UNION
    SELECT r.id FROM message_id_pair AS p
    JOIN response AS r ON r.$(original) = p.provider_message_id
    WHERE p.commit_number = :number AND p.message_id < r.$(column)
)
