-- Pairs of ids of a person's messages. Parameter: the message ids as a JSON list.
SET NOCOUNT ON;
DECLARE @message_ids nvarchar(max) = ?;
DECLARE @message TABLE (value nvarchar(450) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY);

INSERT INTO @message (value)
SELECT DISTINCT CAST(value AS nvarchar(450)) COLLATE Latin1_General_BIN2 FROM OPENJSON(@message_ids)
WHERE DATALENGTH(value) <= 900;

SELECT t.*
FROM $(schema).message_id_pair AS t
WHERE t.message_id IN (SELECT value FROM @message)
    OR t.provider_message_id IN (SELECT value FROM @message)
ORDER BY t.id;
