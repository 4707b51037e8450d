-- The bytes of notifications with something refused in them, each once.
-- Parameters: key, content type and bytes (in hex) as JSON arrays; the time of writing, which is not kept here.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?, @now datetime2(3) = ?;
DECLARE @bodies TABLE (
    body_key     binary(16) NOT NULL PRIMARY KEY,
    content_type nvarchar(max) NULL,
    body         varbinary(max) NOT NULL
);
DECLARE @staged int, @inserted int;

INSERT INTO @bodies (body_key, content_type, body)
SELECT CONVERT(binary(16), body_key, 2), content_type, CONVERT(varbinary(max), body, 2)
FROM OPENJSON(@rows) WITH (
    body_key     char(32) '$[0]',
    content_type nvarchar(max) '$[1]',
    body         nvarchar(max) '$[2]'
);
SET @staged = @@ROWCOUNT;

INSERT INTO $(schema).rejected_notification (body_key, content_type, body)
SELECT b.body_key, b.content_type, b.body
FROM @bodies AS b
WHERE NOT EXISTS (
    SELECT 1 FROM $(schema).rejected_notification AS n WITH (UPDLOCK, HOLDLOCK) WHERE n.body_key = b.body_key
);
SET @inserted = @@ROWCOUNT;

SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
