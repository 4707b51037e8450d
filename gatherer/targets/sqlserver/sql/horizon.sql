-- Up to where all rows are committed: the last transaction of gatherer, and the version before the first one of
-- message_map that a transaction in progress may have given. Reading commit_sequence waits for that batch, if the database
-- does not read committed snapshots. The site's transactions are not waited for.
SELECT number AS commit_number, CONVERT(bigint, MIN_ACTIVE_ROWVERSION()) - 1 AS map_number
FROM $(schema).commit_sequence;
