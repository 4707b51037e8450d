-- Record an erasure. An empty text for `reference` means NULL.
SET NOCOUNT ON;
DECLARE
    @erased_at datetime2(3) = ?, @host nvarchar(255) = ?, @account nvarchar(255) = ?, @version nvarchar(64) = ?,
    @reference nvarchar(max) = ?, @identifiers int = ?, @notifications int = ?, @responses int = ?,
    @other_rows int = ?;

INSERT INTO $(schema).erasure (
    erased_at, host, account, version, reference, identifiers, notifications, responses, other_rows
)
VALUES (
    @erased_at, @host, @account, @version, NULLIF(@reference, N''), @identifiers, @notifications, @responses,
    @other_rows
);

SELECT 1 AS staged, 1 AS written, @@TRANCOUNT AS transactions;
