-- One row per identifier. Who was erased again is erased up to the later time.
INSERT INTO tombstone (identifier, scope, erased_at, key_id) VALUES (?, ?, ?, ?)
ON CONFLICT (identifier) DO UPDATE SET erased_at = excluded.erased_at
WHERE excluded.erased_at > erased_at
