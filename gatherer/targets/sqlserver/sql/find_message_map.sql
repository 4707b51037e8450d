-- What the site sent to a person: by number, in whatever way the site writes it, or by message.
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
CROSS APPLY (
    SELECT
        REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(
        REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(
        REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(
            m.phone, N'\t', N''), N'\r', N''), N'\n', N''), N'+', N''), N' ', N''), N'(', N''), N')', N''),
            N'-', N''), N'.', N''), NCHAR(0x00A0), N''), NCHAR(0x202A), N''), NCHAR(0x202C), N''), N'/', N''),
            NCHAR(0x0009), N''), NCHAR(0x000D), N''), NCHAR(0x000A), N''), NCHAR(0x200E), N''),
            NCHAR(0x200F), N''), NCHAR(0x2010), N''), NCHAR(0x2011), N''), NCHAR(0x2013), N''),
            NCHAR(0x202B), N''), NCHAR(0x202D), N''), NCHAR(0x202E), N''), NCHAR(0x202F), N''),
            NCHAR(0x2066), N''), NCHAR(0x2067), N''), NCHAR(0x2068), N''), NCHAR(0x2069), N'') AS phone
) AS bare
WHERE bare.phone IN (SELECT value FROM @phone)
    OR m.message_id IN (SELECT value FROM @message)
ORDER BY m.id;
