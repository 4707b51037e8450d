-- The rows of the map that name their message by neither id nor reference.
SELECT count(*) AS rows FROM message_map WHERE message_id IS NULL AND client_reference IS NULL;
