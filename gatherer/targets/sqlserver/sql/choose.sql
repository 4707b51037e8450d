-- The rows that `replay --rebuild` removes: those to which notifications contributed, except those that it keeps.
-- First batch, once per connection: the temporary tables.
CREATE TABLE #chosen (
    inbox_id        nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id bigint NOT NULL,
    PRIMARY KEY (inbox_id, notification_id)
);
CREATE TABLE #kept (
    [key] binary(16) NOT NULL PRIMARY KEY
);
CREATE TABLE #affected (
    [key] binary(16) NOT NULL PRIMARY KEY
);
GO
-- Second batch: choose notifications. Parameter: pairs of inbox and notification as JSON arrays.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;

INSERT INTO #chosen (inbox_id, notification_id)
SELECT DISTINCT inbox_id, notification_id
FROM OPENJSON(@rows) WITH (inbox_id nvarchar(64) '$[0]', notification_id bigint '$[1]');
GO
-- Third batch: keep rows. Parameter: their keys as a JSON array of hexadecimal texts.
SET NOCOUNT ON;
DECLARE @keys nvarchar(max) = ?;

INSERT INTO #kept ([key])
SELECT DISTINCT CONVERT(binary(16), CAST(value AS char(32)), 2) FROM OPENJSON(@keys);
