-- Rows of message_map about a person: with one of the phone numbers, in any way of writing it, or about one of the
-- messages.
-- Parameters: the phone numbers in every way of writing them, and message ids, as JSON lists.
SET NOCOUNT ON;
DECLARE @phones nvarchar(max) = ?, @message_ids nvarchar(max) = ?;
DECLARE @phone TABLE (value nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY);
DECLARE @message TABLE (value nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY);

INSERT INTO @phone (value)
SELECT DISTINCT CAST(value AS nvarchar(450)) COLLATE Latin1_General_BIN2 FROM OPENJSON(@phones)
WHERE DATALENGTH(value) <= 900;
INSERT INTO @message (value)
SELECT DISTINCT CAST(value AS nvarchar(450)) COLLATE Latin1_General_BIN2 FROM OPENJSON(@message_ids)
WHERE DATALENGTH(value) <= 900;

SELECT m.*
FROM $(schema).message_map AS m
CROSS APPLY (SELECT $(bare:m.phone) AS phone) AS bare
WHERE bare.phone IN (SELECT value FROM @phone)
    OR m.message_id IN (SELECT value FROM @message)
ORDER BY m.id;
