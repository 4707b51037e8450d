-- Responses about a person: theirs up to a time; and, whenever it was, what is about one of their messages and says of
-- nobody else that it is theirs.
-- Parameters: the phone numbers in every way of writing them, user ids, message ids, all as JSON lists; the time.
SET NOCOUNT ON;
DECLARE @phones nvarchar(max) = ?, @user_ids nvarchar(max) = ?, @message_ids nvarchar(max) = ?, @until datetime2(3) = ?;

SELECT *
FROM $(schema).response
WHERE
    (
        occurred_at <= @until
        AND (
            phone IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@phones))
            OR phone_raw IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@phones))
            OR user_id IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@user_ids))
        )
    )
    OR (
        phone IS NULL AND phone_raw IS NULL AND user_id IS NULL AND group_id IS NULL
        AND (
            message_id IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@message_ids))
            OR about_message_id IN (SELECT value COLLATE Latin1_General_BIN2 FROM OPENJSON(@message_ids))
        )
    )
ORDER BY id;
