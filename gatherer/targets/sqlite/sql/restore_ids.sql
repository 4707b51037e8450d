-- After pairs were removed: give the rows that had an id of such a pair in $(column) the smallest id of the pairs that
-- are left, or the id that their notification told.
UPDATE response SET
    $(column) = coalesce(
        (SELECT min(p.message_id) FROM message_id_pair AS p WHERE p.provider_message_id = response.$(original)),
        $(original)
    ),
    $(original) = CASE
        WHEN EXISTS (SELECT 1 FROM message_id_pair AS p WHERE p.provider_message_id = response.$(original))
        THEN $(original)
    END,
    changed_at = :now,
    commit_number = :number,
    told_commit_number = NULL
WHERE $(original) IS NOT NULL
    AND $(column) <> coalesce(
        (SELECT min(p.message_id) FROM message_id_pair AS p WHERE p.provider_message_id = response.$(original)),
        $(original)
    )
