-- Insert rows into the map, or change the row of the same message. A row is the same message by its id; without one, by
-- reference and phone; without both, by phone, time of sending, communication key and URN. What a row leaves out stays
-- as it is. A row that does not change is not written, so that exports do not repeat its responses.
-- Parameters: the rows as JSON arrays, each message once; the time.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?, @now datetime2(3) = ?;
DECLARE @staged int, @inserted int, @changed int;
DECLARE @map TABLE (
    number            int IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    campaign          nvarchar(255) NOT NULL,
    message_id        nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    client_reference  nvarchar(850) COLLATE Latin1_General_BIN2 NULL,
    communication_key nvarchar(255) NULL,
    urn               nvarchar(255) NULL,
    phone             nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    business_phone    nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    message_name      nvarchar(255) NULL,
    sent_at           datetime2(3) NULL,
    map_id            bigint NULL
);

INSERT INTO @map (
    campaign, message_id, client_reference, communication_key, urn, phone, business_phone, message_name, sent_at
)
SELECT
    campaign, message_id, client_reference, communication_key, urn, phone, business_phone, message_name, sent_at
FROM OPENJSON(@rows) WITH (
    campaign          nvarchar(255) '$[0]',
    message_id        nvarchar(450) '$[1]',
    client_reference  nvarchar(850) '$[2]',
    communication_key nvarchar(255) '$[3]',
    urn               nvarchar(255) '$[4]',
    phone             nvarchar(64) '$[5]',
    business_phone    nvarchar(64) '$[6]',
    message_name      nvarchar(255) '$[7]',
    sent_at           datetime2(3) '$[8]'
);
SET @staged = @@ROWCOUNT;

UPDATE s SET map_id = m.id
FROM @map AS s
JOIN $(schema).message_map AS m WITH (UPDLOCK, HOLDLOCK) ON m.message_id = s.message_id;

UPDATE s SET map_id = (
    SELECT MAX(m.id) FROM $(schema).message_map AS m WITH (UPDLOCK, HOLDLOCK)
    WHERE m.message_id IS NULL AND m.client_reference = s.client_reference
        AND DATALENGTH(m.client_reference) = DATALENGTH(s.client_reference)
        AND (m.phone = s.phone OR (m.phone IS NULL AND s.phone IS NULL))
)
FROM @map AS s
WHERE s.message_id IS NULL AND s.client_reference IS NOT NULL;

UPDATE s SET map_id = (
    SELECT MAX(m.id) FROM $(schema).message_map AS m WITH (UPDLOCK, HOLDLOCK)
    WHERE m.message_id IS NULL AND m.client_reference IS NULL AND m.phone = s.phone AND m.sent_at = s.sent_at
        AND COALESCE(m.communication_key, N'') COLLATE Latin1_General_BIN2
            = COALESCE(s.communication_key, N'') COLLATE Latin1_General_BIN2
        AND COALESCE(m.urn, N'') COLLATE Latin1_General_BIN2 = COALESCE(s.urn, N'') COLLATE Latin1_General_BIN2
)
FROM @map AS s
WHERE s.message_id IS NULL AND s.client_reference IS NULL;

UPDATE m SET
    campaign = s.campaign,
    client_reference = COALESCE(s.client_reference, m.client_reference),
    communication_key = COALESCE(s.communication_key, m.communication_key),
    urn = COALESCE(s.urn, m.urn),
    phone = COALESCE(s.phone, m.phone),
    business_phone = COALESCE(s.business_phone, m.business_phone),
    message_name = COALESCE(s.message_name, m.message_name),
    sent_at = COALESCE(s.sent_at, m.sent_at)
FROM $(schema).message_map AS m
JOIN @map AS s ON s.map_id = m.id
WHERE EXISTS (
    SELECT
        s.campaign COLLATE Latin1_General_BIN2,
        COALESCE(s.client_reference, m.client_reference),
        COALESCE(s.communication_key, m.communication_key) COLLATE Latin1_General_BIN2,
        COALESCE(s.urn, m.urn) COLLATE Latin1_General_BIN2,
        COALESCE(s.phone, m.phone),
        COALESCE(s.business_phone, m.business_phone),
        COALESCE(s.message_name, m.message_name) COLLATE Latin1_General_BIN2,
        COALESCE(s.sent_at, m.sent_at)
    EXCEPT
    SELECT
        m.campaign COLLATE Latin1_General_BIN2, m.client_reference, m.communication_key COLLATE Latin1_General_BIN2,
        m.urn COLLATE Latin1_General_BIN2, m.phone, m.business_phone, m.message_name COLLATE Latin1_General_BIN2,
        m.sent_at
);
SET @changed = @@ROWCOUNT;

INSERT INTO $(schema).message_map (
    campaign, message_id, client_reference, communication_key, urn, phone, business_phone, message_name, sent_at,
    inserted_at
)
SELECT
    s.campaign, s.message_id, s.client_reference, s.communication_key, s.urn, s.phone, s.business_phone,
    s.message_name, s.sent_at, @now
FROM @map AS s
WHERE s.map_id IS NULL
ORDER BY s.number;
SET @inserted = @@ROWCOUNT;

SELECT @staged AS staged, @inserted AS written, @changed AS changed, @@TRANCOUNT AS transactions;
