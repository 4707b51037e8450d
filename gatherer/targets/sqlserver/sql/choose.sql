-- Notifications chosen for a replay that rebuilds. First batch, once per connection.
CREATE TABLE #chosen (
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id bigint NOT NULL,
    PRIMARY KEY (inbox_id, notification_id)
);
GO
-- Second batch. Parameter: pairs of inbox and notification as JSON arrays.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;

INSERT INTO #chosen (inbox_id, notification_id)
SELECT DISTINCT inbox_id, notification_id
FROM OPENJSON(@rows) WITH (inbox_id nvarchar(64) '$[0]', notification_id bigint '$[1]');
