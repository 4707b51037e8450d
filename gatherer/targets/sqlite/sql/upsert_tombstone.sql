-- One row per identifier. If a person is erased again, the later time counts.
INSERT INTO tombstone (identifier, scope, erased_at, key_id) VALUES (?, ?, ?, ?)
ON CONFLICT (identifier) DO UPDATE SET erased_at = excluded.erased_at
WHERE excluded.erased_at > erased_at
