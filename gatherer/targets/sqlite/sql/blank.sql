-- Blank the text of some of the answers that occurred before a time. It is never filled again.
UPDATE response SET
    reply_text = NULL, reply_payload = NULL, details = NULL, blanked_at = :now, changed_at = :now,
    commit_number = (SELECT number FROM commit_sequence), told_commit_number = commit_number
WHERE id IN (
    SELECT id FROM response
    WHERE blanked_at IS NULL AND occurred_at < :before AND kind IN (
        'reacted', 'replied', 'edited', 'revoked', 'opted_out', 'opted_in', 'clicked', 'reply_marker'
    )
    LIMIT :limit
)
