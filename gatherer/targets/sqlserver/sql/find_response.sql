-- Responses about a person: theirs up to a time; and, whenever it was, what is about one of their messages and says of
-- nobody else that it is theirs, or has a number or user id of theirs in its details.
-- Parameters: the phone numbers in every way of writing them, user ids, message ids, what to look for in details, all
-- as JSON lists; the time.
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

SELECT *
FROM $(schema).response
WHERE
    (
        occurred_at <= @until
        AND (
            phone IN (SELECT value FROM @phone)
            OR phone_raw IN (SELECT value FROM @phone)
            OR user_id IN (SELECT value FROM @user)
        )
    )
    OR (
        phone IS NULL AND phone_raw IS NULL AND user_id IS NULL AND group_id IS NULL
        AND (
            message_id IN (SELECT value FROM @message)
            OR about_message_id IN (SELECT value FROM @message)
            OR (
                occurred_at <= @until
                AND EXISTS (
                    SELECT 1 FROM OPENJSON(@fragments) AS f
                    WHERE CHARINDEX(
                        CAST(f.value AS nvarchar(450)) COLLATE Latin1_General_BIN2,
                        details COLLATE Latin1_General_BIN2
                    ) > 0
                )
            )
        )
    )
ORDER BY id;
