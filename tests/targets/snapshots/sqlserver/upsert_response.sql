-- Stage rows of response.
--
-- First batch, once per connection: the temporary table that they are staged in. All its text compares byte by byte.
CREATE TABLE #response (
    [key]              binary(16) NOT NULL,
    provider           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    endpoint           nvarchar(100) COLLATE Latin1_General_BIN2 NOT NULL,
    inbox_id           nvarchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    notification_id    bigint NOT NULL,
    received_at        datetime2(3) NOT NULL,
    occurred_at        datetime2(3) NOT NULL,
    occurred_at_source nvarchar(16) COLLATE Latin1_General_BIN2 NOT NULL,
    account_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    is_test            bit NOT NULL,
    kind               nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL,
    message_id         nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    provider_message_id nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    about_message_id   nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    phone              nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    phone_raw          nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    user_id            nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    phone_number_id    nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    business_phone     nvarchar(64) COLLATE Latin1_General_BIN2 NULL,
    client_reference   nvarchar(850) COLLATE Latin1_General_BIN2 NULL,
    profile_name       nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    group_id           nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    emoji              nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    reply_type         nvarchar(100) COLLATE Latin1_General_BIN2 NULL,
    reply_text         nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    reply_payload      nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    media_id           nvarchar(450) COLLATE Latin1_General_BIN2 NULL,
    media_type         nvarchar(255) COLLATE Latin1_General_BIN2 NULL,
    error_code         bigint NULL,
    error_title        nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    error_details      nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    errors             nvarchar(max) COLLATE Latin1_General_BIN2 NULL,
    pricing_category   nvarchar(100) COLLATE Latin1_General_BIN2 NULL,
    pricing_model      nvarchar(100) COLLATE Latin1_General_BIN2 NULL,
    pricing_type       nvarchar(100) COLLATE Latin1_General_BIN2 NULL,
    billable           bit NULL,
    details            nvarchar(max) COLLATE Latin1_General_BIN2 NULL
);
GO
-- Second batch: stage up to 2 000 rows (lock escalation starts near 5 000). Parameter: the rows as JSON arrays in
-- the order of the columns. Text is read as nvarchar(max), so that no value is cut: the temporary table refuses one
-- that is too long for its column.
SET NOCOUNT ON;
DECLARE @rows nvarchar(max) = ?;
DECLARE @staged int;

DELETE FROM #response;
INSERT INTO #response (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, kind, message_id, provider_message_id, about_message_id, phone, phone_raw,
    user_id, phone_number_id, business_phone, client_reference, profile_name, group_id, emoji,
    reply_type, reply_text, reply_payload, media_id, media_type, error_code, error_title, error_details,
    errors, pricing_category, pricing_model, pricing_type, billable, details
)
SELECT
    CONVERT(binary(16), [key], 2), provider, endpoint, inbox_id, notification_id, received_at,
    occurred_at, occurred_at_source, account_id, is_test, kind, message_id, provider_message_id,
    about_message_id, phone, phone_raw, user_id, phone_number_id, business_phone, client_reference,
    profile_name, group_id, emoji, reply_type, reply_text, reply_payload, media_id, media_type,
    error_code, error_title, error_details, errors, pricing_category, pricing_model, pricing_type,
    billable, details
FROM OPENJSON(@rows) WITH (
    [key]              char(32) '$[0]',
    provider           nvarchar(max) '$[1]',
    endpoint           nvarchar(max) '$[2]',
    inbox_id           nvarchar(max) '$[3]',
    notification_id    bigint '$[4]',
    received_at        datetime2(3) '$[5]',
    occurred_at        datetime2(3) '$[6]',
    occurred_at_source nvarchar(max) '$[7]',
    account_id         nvarchar(max) '$[8]',
    is_test            bit '$[9]',
    kind               nvarchar(max) '$[10]',
    message_id         nvarchar(max) '$[11]',
    provider_message_id nvarchar(max) '$[12]',
    about_message_id   nvarchar(max) '$[13]',
    phone              nvarchar(max) '$[14]',
    phone_raw          nvarchar(max) '$[15]',
    user_id            nvarchar(max) '$[16]',
    phone_number_id    nvarchar(max) '$[17]',
    business_phone     nvarchar(max) '$[18]',
    client_reference   nvarchar(max) '$[19]',
    profile_name       nvarchar(max) '$[20]',
    group_id           nvarchar(max) '$[21]',
    emoji              nvarchar(max) '$[22]',
    reply_type         nvarchar(max) '$[23]',
    reply_text         nvarchar(max) '$[24]',
    reply_payload      nvarchar(max) '$[25]',
    media_id           nvarchar(max) '$[26]',
    media_type         nvarchar(max) '$[27]',
    error_code         bigint '$[28]',
    error_title        nvarchar(max) '$[29]',
    error_details      nvarchar(max) '$[30]',
    errors             nvarchar(max) '$[31]',
    pricing_category   nvarchar(max) '$[32]',
    pricing_model      nvarchar(max) '$[33]',
    pricing_type       nvarchar(max) '$[34]',
    billable           bit '$[35]',
    details            nvarchar(max) '$[36]'
);
SET @staged = @@ROWCOUNT;
SELECT @staged AS staged, @staged AS written, @@TRANCOUNT AS transactions;
GO
-- Insert the staged rows of response, or fill rows from another delivery of the same fact.
--
-- Where two deliveries contradict each other, gatherer/model/merge.py alone decides which value wins: UTF-16, in which
-- SQL Server sorts, and UTF-8, in which SQLite sorts, put characters beyond the Basic Multilingual Plane in different
-- places. So the server finds what is new and what differs, and takes the merged rows back.
-- No MERGE: it is two statements under one name, with races and defects of its own.
--
-- First batch, inside a transaction that holds the application lock. Parameter: the time of writing.
-- FORCESEEK, because a scan under HOLDLOCK would lock every row that it passes.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM [gatherer].commit_sequence);
DECLARE @staged int, @inserted int;
DECLARE @new TABLE (word nvarchar(32) COLLATE Latin1_General_BIN2 NOT NULL);

INSERT INTO #applied (table_name, [key])
SELECT N'response', [key] FROM #response;
SET @staged = @@ROWCOUNT;

-- First result: stored rows that the staged row could change. A staged NULL never does. Lengths are compared as well,
-- because 'a' = 'a ' in T-SQL, in every collation. A text that was blanked is never filled again.
SELECT
    t.[key], t.provider, t.endpoint, t.inbox_id, t.notification_id, t.received_at, t.occurred_at,
    t.occurred_at_source, t.account_id, t.is_test, t.kind,
    COALESCE(t.original_message_id, t.message_id) AS message_id, t.provider_message_id,
    COALESCE(t.original_about_id, t.about_message_id) AS about_message_id, t.phone, t.phone_raw,
    t.user_id, t.phone_number_id, t.business_phone, t.client_reference, t.profile_name, t.group_id,
    t.emoji, t.reply_type, t.reply_text, t.reply_payload, t.media_id, t.media_type, t.error_code,
    t.error_title, t.error_details, t.errors, t.pricing_category, t.pricing_model, t.pricing_type,
    t.billable, t.details, t.blanked_at
FROM #response AS s
JOIN [gatherer].response AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) ON t.[key] = s.[key]
WHERE
    s.received_at < t.received_at
    OR (
        s.received_at = t.received_at
        AND (
            s.inbox_id <> t.inbox_id OR s.notification_id <> t.notification_id OR s.endpoint <> t.endpoint
            OR s.provider <> t.provider
        )
    )
    OR s.occurred_at <> t.occurred_at
    OR s.occurred_at_source <> t.occurred_at_source OR DATALENGTH(s.occurred_at_source) <> DATALENGTH(t.occurred_at_source)
    OR s.account_id <> t.account_id OR DATALENGTH(s.account_id) <> DATALENGTH(t.account_id) OR (t.account_id IS NULL AND s.account_id IS NOT NULL)
    OR s.is_test <> t.is_test
    OR s.kind <> t.kind OR DATALENGTH(s.kind) <> DATALENGTH(t.kind)
    OR s.message_id <> COALESCE(t.original_message_id, t.message_id) OR DATALENGTH(s.message_id) <> DATALENGTH(COALESCE(t.original_message_id, t.message_id)) OR (COALESCE(t.original_message_id, t.message_id) IS NULL AND s.message_id IS NOT NULL)
    OR s.provider_message_id <> t.provider_message_id OR DATALENGTH(s.provider_message_id) <> DATALENGTH(t.provider_message_id) OR (t.provider_message_id IS NULL AND s.provider_message_id IS NOT NULL)
    OR s.about_message_id <> COALESCE(t.original_about_id, t.about_message_id) OR DATALENGTH(s.about_message_id) <> DATALENGTH(COALESCE(t.original_about_id, t.about_message_id)) OR (COALESCE(t.original_about_id, t.about_message_id) IS NULL AND s.about_message_id IS NOT NULL)
    OR s.phone <> t.phone OR DATALENGTH(s.phone) <> DATALENGTH(t.phone) OR (t.phone IS NULL AND s.phone IS NOT NULL)
    OR s.phone_raw <> t.phone_raw OR DATALENGTH(s.phone_raw) <> DATALENGTH(t.phone_raw) OR (t.phone_raw IS NULL AND s.phone_raw IS NOT NULL)
    OR s.user_id <> t.user_id OR DATALENGTH(s.user_id) <> DATALENGTH(t.user_id) OR (t.user_id IS NULL AND s.user_id IS NOT NULL)
    OR s.phone_number_id <> t.phone_number_id OR DATALENGTH(s.phone_number_id) <> DATALENGTH(t.phone_number_id) OR (t.phone_number_id IS NULL AND s.phone_number_id IS NOT NULL)
    OR s.business_phone <> t.business_phone OR DATALENGTH(s.business_phone) <> DATALENGTH(t.business_phone) OR (t.business_phone IS NULL AND s.business_phone IS NOT NULL)
    OR s.client_reference <> t.client_reference OR DATALENGTH(s.client_reference) <> DATALENGTH(t.client_reference) OR (t.client_reference IS NULL AND s.client_reference IS NOT NULL)
    OR s.profile_name <> t.profile_name COLLATE Latin1_General_BIN2 OR DATALENGTH(s.profile_name) <> DATALENGTH(t.profile_name) OR (t.profile_name IS NULL AND s.profile_name IS NOT NULL)
    OR s.group_id <> t.group_id OR DATALENGTH(s.group_id) <> DATALENGTH(t.group_id) OR (t.group_id IS NULL AND s.group_id IS NOT NULL)
    OR s.emoji <> t.emoji OR DATALENGTH(s.emoji) <> DATALENGTH(t.emoji) OR (t.emoji IS NULL AND s.emoji IS NOT NULL)
    OR s.reply_type <> t.reply_type OR DATALENGTH(s.reply_type) <> DATALENGTH(t.reply_type) OR (t.reply_type IS NULL AND s.reply_type IS NOT NULL)
    OR (t.blanked_at IS NULL AND (s.reply_text <> t.reply_text COLLATE Latin1_General_BIN2 OR DATALENGTH(s.reply_text) <> DATALENGTH(t.reply_text) OR (t.reply_text IS NULL AND s.reply_text IS NOT NULL)))
    OR (t.blanked_at IS NULL AND (s.reply_payload <> t.reply_payload COLLATE Latin1_General_BIN2 OR DATALENGTH(s.reply_payload) <> DATALENGTH(t.reply_payload) OR (t.reply_payload IS NULL AND s.reply_payload IS NOT NULL)))
    OR s.media_id <> t.media_id OR DATALENGTH(s.media_id) <> DATALENGTH(t.media_id) OR (t.media_id IS NULL AND s.media_id IS NOT NULL)
    OR s.media_type <> t.media_type OR DATALENGTH(s.media_type) <> DATALENGTH(t.media_type) OR (t.media_type IS NULL AND s.media_type IS NOT NULL)
    OR s.error_code <> t.error_code OR (t.error_code IS NULL AND s.error_code IS NOT NULL)
    OR s.error_title <> t.error_title COLLATE Latin1_General_BIN2 OR DATALENGTH(s.error_title) <> DATALENGTH(t.error_title) OR (t.error_title IS NULL AND s.error_title IS NOT NULL)
    OR s.error_details <> t.error_details COLLATE Latin1_General_BIN2 OR DATALENGTH(s.error_details) <> DATALENGTH(t.error_details) OR (t.error_details IS NULL AND s.error_details IS NOT NULL)
    OR s.errors <> t.errors COLLATE Latin1_General_BIN2 OR DATALENGTH(s.errors) <> DATALENGTH(t.errors) OR (t.errors IS NULL AND s.errors IS NOT NULL)
    OR s.pricing_category <> t.pricing_category OR DATALENGTH(s.pricing_category) <> DATALENGTH(t.pricing_category) OR (t.pricing_category IS NULL AND s.pricing_category IS NOT NULL)
    OR s.pricing_model <> t.pricing_model OR DATALENGTH(s.pricing_model) <> DATALENGTH(t.pricing_model) OR (t.pricing_model IS NULL AND s.pricing_model IS NOT NULL)
    OR s.pricing_type <> t.pricing_type OR DATALENGTH(s.pricing_type) <> DATALENGTH(t.pricing_type) OR (t.pricing_type IS NULL AND s.pricing_type IS NOT NULL)
    OR s.billable <> t.billable OR (t.billable IS NULL AND s.billable IS NOT NULL)
    OR (t.blanked_at IS NULL AND (s.details <> t.details COLLATE Latin1_General_BIN2 OR DATALENGTH(s.details) <> DATALENGTH(t.details) OR (t.details IS NULL AND s.details IS NOT NULL)));

-- Second result: how many rows were new, by the word that they are counted under. The unique index is the real guard.
INSERT INTO [gatherer].response (
    [key], provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, kind, message_id, provider_message_id, about_message_id, phone, phone_raw,
    user_id, phone_number_id, business_phone, client_reference, profile_name, group_id, emoji,
    reply_type, reply_text, reply_payload, media_id, media_type, error_code, error_title, error_details,
    errors, pricing_category, pricing_model, pricing_type, billable, details, inserted_at, changed_at, commit_number
)
OUTPUT inserted.kind INTO @new
SELECT
    s.[key], s.provider, s.endpoint, s.inbox_id, s.notification_id, s.received_at, s.occurred_at,
    s.occurred_at_source, s.account_id, s.is_test, s.kind, s.message_id, s.provider_message_id,
    s.about_message_id, s.phone, s.phone_raw, s.user_id, s.phone_number_id, s.business_phone,
    s.client_reference, s.profile_name, s.group_id, s.emoji, s.reply_type, s.reply_text, s.reply_payload,
    s.media_id, s.media_type, s.error_code, s.error_title, s.error_details, s.errors, s.pricing_category,
    s.pricing_model, s.pricing_type, s.billable, s.details, @now, @now, @number
FROM #response AS s
WHERE NOT EXISTS (
    SELECT 1 FROM [gatherer].response AS t WITH (UPDLOCK, HOLDLOCK, FORCESEEK) WHERE t.[key] = s.[key]
);
SET @inserted = @@ROWCOUNT;
SELECT word, COUNT(*) AS inserted FROM @new GROUP BY word;

-- A notification that tells a stored row again is a further contributor.
IF @inserted < @staged
    INSERT INTO [gatherer].contributor ([key], inbox_id, notification_id)
    SELECT s.[key], s.inbox_id, s.notification_id
    FROM #response AS s
    JOIN [gatherer].response AS t ON t.[key] = s.[key]
    WHERE (t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id)
        AND NOT EXISTS (
            SELECT 1 FROM [gatherer].contributor AS c
            WHERE c.[key] = s.[key] AND c.inbox_id = s.inbox_id AND c.notification_id = s.notification_id
        );

-- Last result: the proof that all of this ran, and that the transaction is still open.
SELECT @staged AS staged, @inserted AS written, @@TRANCOUNT AS transactions;
GO
-- Second batch, with merged rows staged: their keys are stored and locked. Parameter: the time of writing.
SET NOCOUNT ON;
DECLARE @now datetime2(3) = ?, @number bigint = (SELECT number FROM [gatherer].commit_sequence);
DECLARE @written int;

-- The receipt that a row is going to lose is a contributor in the place of the one that it gets.
UPDATE c SET inbox_id = t.inbox_id, notification_id = t.notification_id
FROM [gatherer].contributor AS c
JOIN #response AS s ON s.[key] = c.[key] AND s.inbox_id = c.inbox_id AND s.notification_id = c.notification_id
JOIN [gatherer].response AS t ON t.[key] = s.[key]
WHERE t.notification_id <> s.notification_id OR t.inbox_id <> s.inbox_id;

UPDATE t SET
    provider = s.provider, endpoint = s.endpoint, inbox_id = s.inbox_id,
    notification_id = s.notification_id, received_at = s.received_at, occurred_at = s.occurred_at,
    occurred_at_source = s.occurred_at_source, account_id = s.account_id, is_test = s.is_test,
    kind = s.kind, message_id = s.message_id, provider_message_id = s.provider_message_id,
    about_message_id = s.about_message_id, phone = s.phone, phone_raw = s.phone_raw, user_id = s.user_id,
    phone_number_id = s.phone_number_id, business_phone = s.business_phone,
    client_reference = s.client_reference, profile_name = s.profile_name, group_id = s.group_id,
    emoji = s.emoji, reply_type = s.reply_type, reply_text = s.reply_text,
    reply_payload = s.reply_payload, media_id = s.media_id, media_type = s.media_type,
    error_code = s.error_code, error_title = s.error_title, error_details = s.error_details,
    errors = s.errors, pricing_category = s.pricing_category, pricing_model = s.pricing_model,
    pricing_type = s.pricing_type, billable = s.billable, details = s.details, told_commit_number = NULL,
    original_message_id = NULL, original_about_id = NULL, changed_at = @now, commit_number = @number
FROM [gatherer].response AS t
JOIN #response AS s ON s.[key] = t.[key];
SET @written = @@ROWCOUNT;

SELECT @written AS staged, @written AS written, @@TRANCOUNT AS transactions;
