-- What the site sent to a person: by number or by message.
-- Parameters: the phone numbers in every way of writing them, and message ids, as JSON lists.
SET NOCOUNT ON;
DECLARE @phones nvarchar(max) = ?, @message_ids nvarchar(max) = ?;

SELECT *
FROM $(schema).message_map
WHERE phone IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@phones))
    OR message_id IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@message_ids))
ORDER BY id;
