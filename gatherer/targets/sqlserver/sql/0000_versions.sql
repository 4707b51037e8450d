-- Which numbered scripts have been applied here. `required` is the number up to which a gatherer must know the
-- scripts to write here without harm: an older one refuses, and says so.

IF SCHEMA_ID(N'$(schema)') IS NULL
    EXEC (N'CREATE SCHEMA [$(schema)]');
GO
IF OBJECT_ID(N'$(schema).schema_version', N'U') IS NULL
CREATE TABLE $(schema).schema_version (
    number     int NOT NULL,
    name       nvarchar(128) NOT NULL,
    required   int NOT NULL,
    applied_at datetime2(3) NOT NULL DEFAULT (SYSUTCDATETIME()),
    applied_by nvarchar(128) NOT NULL DEFAULT (SUSER_SNAME()),
    CONSTRAINT schema_version_pk PRIMARY KEY CLUSTERED (number)
);
GO
