-- The rights that the login of `gatherer gather` needs, and no others: it cannot create, alter or drop anything.
--
-- Run it once, after `gatherer schema apply`, under a login that may create roles:
--     sqlcmd -b -I -v schema=gatherer -i grants.sql
-- then put the user of the login into the role, with the name of your account:
--     ALTER ROLE gatherer_writer ADD MEMBER [DOMAIN\svc-gatherer];
-- Members of gatherer_reader can read everything, for reports, and for exports without --since-last.

IF DATABASE_PRINCIPAL_ID(N'gatherer_writer') IS NULL
    CREATE ROLE gatherer_writer;
IF DATABASE_PRINCIPAL_ID(N'gatherer_reader') IS NULL
    CREATE ROLE gatherer_reader;
GO
-- DELETE on the tables of facts is for `gatherer replay --rebuild`, `gatherer privacy erase` and [target] keep_days.
-- Without it, only these fail.
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).response TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).template_event TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).flow_event TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).account_event TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).other_event TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).message_id_pair TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).rejected TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).contributor TO gatherer_writer;
GRANT SELECT, INSERT, DELETE ON $(schema).rejected_notification TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE ON $(schema).inbox_position TO gatherer_writer;
GRANT SELECT, INSERT ON $(schema).gather_run TO gatherer_writer;
-- `gatherer map import` fills message_map, or the site does; `gatherer privacy erase` deletes rows there. Without INSERT
-- and UPDATE, or without DELETE, only these commands fail.
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).message_map TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE ON $(schema).tombstone TO gatherer_writer;
GRANT SELECT, INSERT ON $(schema).erasure TO gatherer_writer;
-- Every run counts its transactions. `gatherer export --since-last` and the steps of [[after_run]] move cursors.
GRANT SELECT, UPDATE ON $(schema).commit_sequence TO gatherer_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON $(schema).export_cursor TO gatherer_writer;
GRANT SELECT, INSERT, DELETE ON $(schema).setting TO gatherer_writer;
GRANT SELECT, INSERT, DELETE ON $(schema).time_zone_offset TO gatherer_writer;
GRANT SELECT ON $(schema).schema_version TO gatherer_writer;
-- `gatherer export` reads views. The right is on the schema, because `gatherer schema apply` drops the
-- views and creates them again, and rights on single views are gone then.
GRANT SELECT ON SCHEMA::$(schema) TO gatherer_writer;
GO
GRANT SELECT ON SCHEMA::$(schema) TO gatherer_reader;
GO
