-- Responses that may be about a person: up to a time, those with one of the person's phone numbers or user ids in a
-- column or in a text; and of any time, those about one of the person's messages that name no person.
-- Parameters: the phone numbers in every way of writing them, user ids, message ids, the fragments to look for in
-- texts, all as JSON lists; the time. The characters that may separate the digits of a number are removed from the
-- texts before the search. A text with an escaped character (\u…) is always found: the caller has to look into it.
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
    SELECT CONCAT(t.reply_text, N'|', t.reply_payload, N'|', t.details, N'|', t.client_reference) COLLATE Latin1_General_BIN2 AS value
) AS texts
CROSS APPLY (SELECT $(bare:texts.value) AS value) AS bare
WHERE
    (
        t.occurred_at <= @until
        AND (
            t.phone IN (SELECT value FROM @phone)
            OR t.phone_raw IN (SELECT value FROM @phone)
            OR t.user_id IN (SELECT value FROM @user)
            OR @fragments <> N'[]' AND CHARINDEX(N'\u', texts.value) > 0
            OR EXISTS (
                SELECT 1 FROM OPENJSON(@fragments) AS f
                WHERE CHARINDEX(CAST(f.value AS nvarchar(450)) COLLATE Latin1_General_BIN2, bare.value) > 0
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
