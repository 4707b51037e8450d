-- Notifications that people were erased from: they keep their place in the log, and what tells them from others.

ALTER TABLE notification ADD COLUMN received_digest BLOB;  -- digest of what was received; NULL: nothing was erased
