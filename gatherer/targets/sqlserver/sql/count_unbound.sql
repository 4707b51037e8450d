-- The rows of the map that name their message by neither id nor reference.
SELECT COUNT_BIG(*) AS counted FROM $(schema).message_map WHERE message_id IS NULL AND client_reference IS NULL;
