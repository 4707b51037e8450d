-- Insert the bodies of notifications with rejections, each once. Of several content types the first in binary order
-- counts, and any before none, so that the order of arrival plays no part.
-- Parameter: a JSON object; each name is a key in hex and the content type, its value the bytes in hex.
SET NOCOUNT ON;
DECLARE @bodies nvarchar(max) = ?;
DECLARE @body TABLE (
    body_key     binary(16) NOT NULL PRIMARY KEY,
    content_type nvarchar(max) NULL,
    body         varbinary(max) NOT NULL
);
DECLARE @staged int, @inserted int;

INSERT INTO @body (body_key, content_type, body)
SELECT
    CONVERT(binary(16), LEFT([key], 32), 2), NULLIF(SUBSTRING([key], 33, 4000), N''),
    CONVERT(varbinary(max), value, 2)
FROM OPENJSON(@bodies);
SET @staged = @@ROWCOUNT;

UPDATE n SET content_type = b.content_type
FROM $(schema).rejected_notification AS n
JOIN @body AS b ON b.body_key = n.body_key
WHERE b.content_type IS NOT NULL AND (
    n.content_type IS NULL
    OR b.content_type COLLATE Latin1_General_BIN2 < n.content_type COLLATE Latin1_General_BIN2
);

INSERT INTO $(schema).rejected_notification (body_key, content_type, body)
SELECT b.body_key, b.content_type, b.body
FROM @body AS b
WHERE NOT EXISTS (
    SELECT 1 FROM $(schema).rejected_notification AS n WITH (UPDLOCK, HOLDLOCK) WHERE n.body_key = b.body_key
);
SET @inserted = @@ROWCOUNT;

SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
