-- Record a run. An empty text for `problem` means NULL.
SET NOCOUNT ON;
DECLARE
    @started_at datetime2(3) = ?, @finished_at datetime2(3) = ?, @host nvarchar(255) = ?, @version nvarchar(64) = ?,
    @inbox_id nvarchar(64) = ?, @read int = ?, @inserted int = ?, @filled int = ?, @duplicates int = ?,
    @rejected int = ?, @exit_code int = ?, @problem nvarchar(max) = ?;

INSERT INTO $(schema).gather_run (
    started_at, finished_at, host, version, inbox_id, [read], inserted, filled, duplicates, rejected, exit_code,
    problem
)
VALUES (
    @started_at, @finished_at, @host, @version, @inbox_id, @read, @inserted, @filled, @duplicates, @rejected,
    @exit_code, NULLIF(@problem, N'')
);
