-- Other events that may be about a person, as in find_response.sql; the text is `details`. The same parameters.
SET NOCOUNT ON;
DECLARE
    @phones nvarchar(max) = ?, @user_ids nvarchar(max) = ?, @message_ids nvarchar(max) = ?,
    @fragments nvarchar(max) = ?, @until datetime2(3) = ?;
DECLARE @phone TABLE (value nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY);
DECLARE @user TABLE (value nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY);
DECLARE @message TABLE (value nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY);

INSERT INTO @phone (value)
SELECT DISTINCT CAST(value AS nvarchar(450)) COLLATE Latin1_General_BIN2 FROM OPENJSON(@phones)
WHERE DATALENGTH(value) <= 900;
INSERT INTO @user (value)
SELECT DISTINCT CAST(value AS nvarchar(450)) COLLATE Latin1_General_BIN2 FROM OPENJSON(@user_ids)
WHERE DATALENGTH(value) <= 900;
INSERT INTO @message (value)
SELECT DISTINCT CAST(value AS nvarchar(450)) COLLATE Latin1_General_BIN2 FROM OPENJSON(@message_ids)
WHERE DATALENGTH(value) <= 900;

SELECT t.*
FROM $(schema).other_event AS t
CROSS APPLY (SELECT $(bare:t.details COLLATE Latin1_General_BIN2) AS details) AS bare
WHERE
    (
        t.occurred_at <= @until
        AND (
            t.phone IN (SELECT value FROM @phone)
            OR t.user_id IN (SELECT value FROM @user)
            OR @fragments <> N'[]' AND CHARINDEX(N'\u', t.details COLLATE Latin1_General_BIN2) > 0
            OR EXISTS (
                SELECT 1 FROM OPENJSON(@fragments) AS f
                WHERE CHARINDEX(CAST(f.value AS nvarchar(450)) COLLATE Latin1_General_BIN2, bare.details) > 0
            )
        )
    )
    OR (
        t.phone IS NULL AND t.user_id IS NULL
        AND t.message_id IN (SELECT value FROM @message)
    )
ORDER BY t.id;
