-- Record a run or a step. An empty text for `problem`, `step` or `last_line` means NULL.
SET NOCOUNT ON;
DECLARE
    @started_at datetime2(3) = ?, @finished_at datetime2(3) = ?, @host nvarchar(255) = ?, @version nvarchar(64) = ?,
    @inbox_id nvarchar(64) = ?, @read int = ?, @inserted int = ?, @filled int = ?, @duplicates int = ?,
    @rejected int = ?, @exit_code int = ?, @problem nvarchar(max) = ?,
    @step nvarchar(64) = ?, @last_line nvarchar(max) = ?, @times_ahead int = ?,
    @purged_unread bigint = ?, @missing bigint = ?;

INSERT INTO $(schema).gather_run (
    started_at, finished_at, host, version, inbox_id, [read], inserted, filled, duplicates, rejected, exit_code,
    problem, step, last_line, times_ahead, purged_unread, missing
)
VALUES (
    @started_at, @finished_at, @host, @version, @inbox_id, @read, @inserted, @filled, @duplicates, @rejected,
    @exit_code, NULLIF(@problem, N''), NULLIF(@step, N''), NULLIF(@last_line, N''), @times_ahead,
    @purged_unread, @missing
);
