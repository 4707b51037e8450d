-- Remove all tables and views of gatherer from the database, with all rows. Only a backup can bring them back.
-- Printed by `gatherer schema print --remove`; gatherer itself never runs it.
DROP VIEW IF EXISTS $(schema).campaign_funnel;
DROP VIEW IF EXISTS $(schema).response_campaign;
DROP VIEW IF EXISTS $(schema).mapped_message;
DROP VIEW IF EXISTS $(schema).message_status;
DROP VIEW IF EXISTS $(schema).flow_answer;
DROP VIEW IF EXISTS $(schema).opt_out_current;
DROP VIEW IF EXISTS $(schema).reaction_current;
DROP VIEW IF EXISTS $(schema).reply;
DROP VIEW IF EXISTS $(schema).shown_response;
DROP VIEW IF EXISTS $(schema).response_duplicate;
DROP VIEW IF EXISTS $(schema).response_local;
GO
DROP TABLE IF EXISTS $(schema).response;
DROP TABLE IF EXISTS $(schema).template_event;
DROP TABLE IF EXISTS $(schema).flow_event;
DROP TABLE IF EXISTS $(schema).account_event;
DROP TABLE IF EXISTS $(schema).other_event;
DROP TABLE IF EXISTS $(schema).message_id_pair;
DROP TABLE IF EXISTS $(schema).rejected;
DROP TABLE IF EXISTS $(schema).contributor;
DROP TABLE IF EXISTS $(schema).rejected_notification;
DROP TABLE IF EXISTS $(schema).inbox_position;
DROP TABLE IF EXISTS $(schema).gather_run;
DROP TABLE IF EXISTS $(schema).message_map;
DROP TABLE IF EXISTS $(schema).commit_sequence;
DROP TABLE IF EXISTS $(schema).export_cursor;
DROP TABLE IF EXISTS $(schema).setting;
DROP TABLE IF EXISTS $(schema).time_zone_offset;
DROP TABLE IF EXISTS $(schema).tombstone;
DROP TABLE IF EXISTS $(schema).erasure;
DROP TABLE IF EXISTS $(schema).schema_version;
GO
IF SCHEMA_ID(N'$(schema)') IS NOT NULL AND N'$(schema)' <> N'dbo'
    EXEC (N'DROP SCHEMA [$(schema)]');
GO
