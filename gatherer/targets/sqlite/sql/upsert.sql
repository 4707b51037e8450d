-- Insert a row of $(table), or fill it from another delivery of the same fact, as gatherer/model/merge.py does: NULL
-- is filled; where two deliveries contradict each other the smaller value in binary order wins, per group of columns
-- that belong together. A text that was blanked stays so, and nothing is written when nothing changes.
INSERT INTO $(table) (
    $(columns)
) VALUES (
    $(parameters)
)
ON CONFLICT (key) DO UPDATE SET
    $(assignments),
    changed_at = excluded.changed_at,
    commit_number = excluded.commit_number
WHERE
    $(received_before)
    -- Most redeliveries have the same values again: comparing all of them at once costs half as much.
    OR (
        (
            $(delivered)
        ) IS NOT (
            $(stored)
        )
        AND (
            $(changes)
        )
    )
