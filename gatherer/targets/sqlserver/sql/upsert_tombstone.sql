-- One row per identifier. If a person is erased again, the later time counts.
-- Parameter: the rows as JSON arrays, each identifier once.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;
DECLARE @staged int, @inserted int;
DECLARE @tombstone TABLE (
    identifier binary(32) NOT NULL PRIMARY KEY,
    scope      nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,
    erased_at  datetime2(3) NOT NULL,
    key_id     nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL
);

INSERT INTO @tombstone (identifier, scope, erased_at, key_id)
SELECT CONVERT(binary(32), identifier, 2), scope, erased_at, key_id
FROM OPENJSON(@rows) WITH (
    identifier char(64) '$[0]',
    scope      nvarchar(16) '$[1]',
    erased_at  datetime2(3) '$[2]',
    key_id     nvarchar(64) '$[3]'
);
SET @staged = @@ROWCOUNT;

UPDATE t SET erased_at = s.erased_at
FROM $(schema).tombstone AS t
JOIN @tombstone AS s ON s.identifier = t.identifier
WHERE s.erased_at > t.erased_at;

INSERT INTO $(schema).tombstone (identifier, scope, erased_at, key_id)
SELECT s.identifier, s.scope, s.erased_at, s.key_id
FROM @tombstone AS s
WHERE NOT EXISTS (
    SELECT 1 FROM $(schema).tombstone AS t WITH (UPDLOCK, HOLDLOCK) WHERE t.identifier = s.identifier
);
SET @inserted = @@ROWCOUNT;

SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
