-- Responses about a person: theirs up to a time; what has a number or user id of theirs in its texts up to then; and,
-- whenever it was, what is about one of their messages and says of nobody else that it is theirs.
-- Parameters: the phone numbers in every way of writing them, user ids, message ids, what to look for in texts, all
-- as JSON lists; the time. Numbers in texts are written in many ways: what may stand between their digits
-- is left out, and how JSON writes it; where JSON numbers a character, that is for the caller to tell.
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
FROM $(schema).response AS t
CROSS APPLY (
    SELECT CONCAT(t.reply_text, N'|', t.reply_payload, N'|', t.details, N'|', t.client_reference) COLLATE Latin1_General_BIN2 AS said
) AS texts
CROSS APPLY (SELECT $(bare:texts.said) AS said) AS bare
WHERE
    (
        t.occurred_at <= @until
        AND (
            t.phone IN (SELECT value FROM @phone)
            OR t.phone_raw IN (SELECT value FROM @phone)
            OR t.user_id IN (SELECT value FROM @user)
            OR @fragments <> N'[]' AND CHARINDEX(N'\u', texts.said) > 0
            OR EXISTS (
                SELECT 1 FROM OPENJSON(@fragments) AS f
                WHERE CHARINDEX(CAST(f.value AS nvarchar(450)) COLLATE Latin1_General_BIN2, bare.said) > 0
            )
        )
    )
    OR (
        t.phone IS NULL AND t.phone_raw IS NULL AND t.user_id IS NULL AND t.group_id IS NULL
        AND (
            t.message_id IN (SELECT value FROM @message)
            OR t.about_message_id IN (SELECT value FROM @message)
        )
    )
ORDER BY t.id;
