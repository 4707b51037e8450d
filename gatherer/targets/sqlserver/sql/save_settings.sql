-- The settings of the site and its time zone, as they stand in the configuration.
-- Parameters: pairs of name and value, and offsets, as JSON arrays.
SET NOCOUNT ON;
DECLARE @settings nvarchar(max) = ?, @offsets nvarchar(max) = ?;

DELETE FROM $(schema).setting;
INSERT INTO $(schema).setting (name, value)
SELECT name, value FROM OPENJSON(@settings) WITH (name nvarchar(64) '$[0]', value nvarchar(255) '$[1]');

DELETE FROM $(schema).time_zone_offset;
INSERT INTO $(schema).time_zone_offset (starts_at, ends_at, offset_minutes)
SELECT starts_at, ends_at, offset_minutes
FROM OPENJSON(@offsets) WITH (starts_at datetime2(3) '$[0]', ends_at datetime2(3) '$[1]', offset_minutes int '$[2]');
