-- Texts that do not come through OPENJSON ... WITH unchanged, for the rows staged last. First batch, once per
-- connection.
CREATE TABLE #carried (
    [key] binary(16) NOT NULL,
    name  nvarchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
    value nvarchar(max) COLLATE Latin1_General_BIN2 NOT NULL,
    PRIMARY KEY (name, [key])
);
GO
-- Second batch: whether OPENJSON ... WITH carries any text: one with escapes, and a long one. SQL Server does.
-- Parameter: a JSON array of two texts in an array.
SELECT escaped, LEN(long) AS length
FROM OPENJSON(?) WITH (escaped nvarchar(max) '$[0]', long nvarchar(max) '$[1]');
