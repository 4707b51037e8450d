-- What reports read. Test rows (dashboard tests, simulated traffic) are in none of these views but response_local,
-- unless shown_response has them. `person` is the phone number, or the user id where WhatsApp withholds the number.
--
-- Running it again drops each view and makes it anew: grant rights on the schema, or to a role on the schema,
-- not on single views. (CREATE OR ALTER would keep them, but is not in SQL Server 2016 before SP1.)

SET ANSI_NULLS, QUOTED_IDENTIFIER ON;
GO
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

-- One response with its times in the site's time zone.
CREATE VIEW $(schema).response_local AS
SELECT
    r.*,
    DATEADD(minute, o.offset_minutes, r.occurred_at) AS occurred_local,
    DATEADD(minute, p.offset_minutes, r.received_at) AS received_local
FROM $(schema).response AS r
JOIN $(schema).time_zone_offset AS o ON o.starts_at <= r.occurred_at AND r.occurred_at < o.ends_at
JOIN $(schema).time_zone_offset AS p ON p.starts_at <= r.received_at AND r.received_at < p.ends_at;
GO

-- The responses that the views below are about: without test rows. `gatherer schema apply --include-tests` makes this
-- view anew without its condition, so that the views show test rows as well; is_test marks them.
CREATE VIEW $(schema).shown_response AS
SELECT *
FROM $(schema).response
WHERE is_test = 0;
GO

-- The rows that tell a fact once more: they came with another id of a message than the row that counts. Pairs of ids have
-- shown that both are one message. The row that came with WhatsApp's id counts, else the one with the smallest id.
CREATE VIEW $(schema).response_duplicate AS
SELECT r.id
FROM $(schema).response AS r
WHERE r.original_message_id IS NOT NULL
    AND EXISTS (
        SELECT 1 FROM $(schema).response AS x
        WHERE x.message_id = r.message_id AND x.kind = r.kind AND x.is_test = r.is_test
            AND (x.original_message_id IS NULL OR x.original_message_id < r.original_message_id)
            -- The receipts of one message to a group are different facts.
            AND (r.group_id IS NULL OR COALESCE(x.phone, x.user_id) = COALESCE(r.phone, r.user_id))
    );
GO

-- One reply in its current state: with the text of its latest edit. A revoked reply has no row. On-Premises reports
-- that as a status `deleted`.
CREATE VIEW $(schema).reply AS
SELECT
    r.message_id, r.about_message_id, r.provider, r.endpoint, r.account_id, r.phone_number_id, r.business_phone,
    r.phone, r.user_id, COALESCE(r.phone, r.user_id) AS person, r.profile_name, r.group_id,
    (
        SELECT MIN(p.provider_message_id) FROM $(schema).message_id_pair AS p WHERE p.message_id = r.message_id
    ) AS provider_message_id,
    r.occurred_at AS replied_at, r.reply_type,
    CASE WHEN e.id IS NULL THEN r.reply_text ELSE e.reply_text END AS reply_text,
    r.reply_payload, r.media_id, r.media_type, e.occurred_at AS edited_at, r.is_test
FROM $(schema).shown_response AS r
OUTER APPLY (
    SELECT TOP (1) x.id, x.reply_text, x.occurred_at FROM $(schema).shown_response AS x
    WHERE x.about_message_id = r.message_id AND x.kind = N'edited'
    ORDER BY x.occurred_at DESC, x.message_id DESC
) AS e
WHERE r.kind = N'replied'
    AND NOT EXISTS (SELECT 1 FROM $(schema).response_duplicate AS d WHERE d.id = r.id)
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).shown_response AS x
        WHERE x.about_message_id = r.message_id AND x.kind = N'revoked'
    )
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).other_event AS x
        WHERE x.message_id = r.message_id AND x.family = N'statuses' AND x.name = N'deleted' AND x.is_test = r.is_test
    )
    AND NOT EXISTS (
        SELECT 1 FROM $(schema).message_id_pair AS p
        JOIN $(schema).other_event AS x ON x.message_id = p.provider_message_id
        WHERE p.message_id = r.message_id AND x.family = N'statuses' AND x.name = N'deleted' AND x.is_test = r.is_test
    );
GO

-- The current reaction of one person to one message. A reaction that was taken back has no row.
-- An emoji that could not be read is NULL, and still a reaction. WhatsApp may name one person by phone and
-- later by user id alone: a receipt or another answer to the same message may have both. (The emoji is compared
-- by length: under some collations it equals the empty text.)
CREATE VIEW $(schema).reaction_current AS
SELECT
    message_id, about_message_id, provider, endpoint, account_id, phone_number_id, business_phone, phone, user_id,
    person, profile_name, emoji, occurred_at AS reacted_at, is_test
FROM (
    SELECT
        told.*,
        COALESCE(phone, user_id) AS person,
        ROW_NUMBER() OVER (
            PARTITION BY about_message_id, COALESCE(phone, user_id)
            -- In one second: the removal, else what was received last
            ORDER BY
                occurred_at DESC, CASE WHEN DATALENGTH(emoji) = 0 THEN 0 ELSE 1 END,
                received_at DESC, notification_id DESC, message_id DESC
        ) AS recency
    FROM (
        SELECT
            r.message_id, r.about_message_id, r.provider, r.endpoint, r.account_id, r.phone_number_id,
            r.business_phone, r.user_id, r.profile_name, r.emoji, r.occurred_at, r.is_test,
            r.received_at, r.notification_id,
            COALESCE(r.phone, (
                SELECT MIN(x.phone) FROM $(schema).shown_response AS x
                WHERE x.user_id = r.user_id
                    AND (x.message_id = r.about_message_id OR x.about_message_id = r.about_message_id)
            )) AS phone
        FROM $(schema).shown_response AS r
        WHERE r.kind = N'reacted' AND r.about_message_id IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM $(schema).response_duplicate AS d WHERE d.id = r.id)
    ) AS told
) AS ranked
WHERE recency = 1 AND (emoji IS NULL OR DATALENGTH(emoji) > 0);
GO

-- Whether one person wants marketing from one of our numbers: the latest opt-out or opt-in counts, and of two at the
-- same time the opt-out. If it has only a user id, the phone is the one that any response has with this user id.
-- source: `keyword`, a reply that was typed or tapped; or `preference`, what the person set in WhatsApp itself.
CREATE VIEW $(schema).opt_out_current AS
WITH known AS (
    SELECT user_id, MIN(phone) AS phone
    FROM $(schema).shown_response
    WHERE phone IS NOT NULL AND user_id IN (
        SELECT user_id FROM $(schema).response WHERE kind IN (N'opted_out', N'opted_in') AND phone IS NULL
    )
    GROUP BY user_id
),
told AS (
    SELECT
        r.message_id, r.kind, r.occurred_at, r.provider, r.endpoint, r.phone_number_id, r.business_phone,
        r.user_id, r.id, r.reply_type, r.is_test,
        COALESCE(r.phone, k.phone) AS phone
    FROM $(schema).shown_response AS r
    LEFT JOIN known AS k ON k.user_id = r.user_id
    WHERE r.kind IN (N'opted_out', N'opted_in')
        AND NOT EXISTS (SELECT 1 FROM $(schema).response_duplicate AS d WHERE d.id = r.id)
)
SELECT
    person, phone, user_id, phone_number_id, business_phone,
    CASE WHEN kind = N'opted_out' THEN 1 ELSE 0 END AS opted_out,
    occurred_at AS since, provider, endpoint,
    CASE WHEN reply_type = N'keyword' THEN N'keyword' ELSE N'preference' END AS source, id AS response_id,
    is_test
FROM (
    SELECT
        told.*,
        COALESCE(phone, user_id) AS person,
        ROW_NUMBER() OVER (
            PARTITION BY COALESCE(phone, user_id, CAST(id AS nvarchar(20))), COALESCE(phone_number_id, business_phone), is_test
            ORDER BY occurred_at DESC, CASE WHEN kind = N'opted_out' THEN 0 ELSE 1 END, message_id
        ) AS recency
    FROM told
) AS ranked
WHERE recency = 1;
GO

-- One name and value of one Flow answer. An answer that is not a JSON object is in `reply` alone. (For ISJSON only
-- objects and arrays are JSON, so whichever bracket comes first tells which of them it is.) Lists and objects
-- inside are as they were written; the embedded target writes them without spaces.
CREATE VIEW $(schema).flow_answer AS
SELECT
    r.message_id, r.about_message_id, r.person, r.phone, r.user_id, r.business_phone, r.replied_at, r.is_test,
    j.[key] AS name, j.value AS value
FROM $(schema).reply AS r
CROSS APPLY OPENJSON(
    CASE
        WHEN r.reply_type = N'flow' AND ISJSON(r.reply_payload) = 1
            AND CHARINDEX(N'{', r.reply_payload) > 0
            AND CHARINDEX(N'{', r.reply_payload) < CHARINDEX(N'[', r.reply_payload + N'[')
        THEN r.reply_payload
        ELSE N'{}'
    END
) AS j
WHERE r.reply_type = N'flow';
GO

-- One of our messages, with everything known about it. A read or played message was delivered, even if no receipt
-- reported that. A reply marker counts only if the reply itself was never received; if it was received and revoked, the
-- marker does not count.
CREATE VIEW $(schema).message_status AS
WITH receipt AS (
    SELECT
        message_id,
        MIN(provider) AS provider,
        MIN(endpoint) AS endpoint,
        MIN(account_id) AS account_id,
        MIN(phone_number_id) AS phone_number_id,
        MIN(business_phone) AS business_phone,
        MIN(phone) AS phone,
        MIN(user_id) AS user_id,
        MIN(group_id) AS group_id,
        MIN(client_reference) AS client_reference,
        MIN(CASE WHEN kind = N'sent' THEN occurred_at END) AS sent_at,
        MIN(CASE WHEN kind IN (N'delivered', N'read', N'played') THEN occurred_at END) AS delivered_at,
        MIN(CASE WHEN kind IN (N'read', N'played') THEN occurred_at END) AS read_at,
        MIN(CASE WHEN kind = N'failed' THEN occurred_at END) AS failed_at,
        MIN(CASE WHEN kind = N'failed' THEN error_code END) AS error_code,
        MIN(CASE WHEN kind = N'failed' THEN error_title END) AS error_title,
        MIN(CASE WHEN kind = N'failed' THEN error_details END) AS error_details,
        MAX(CAST(is_test AS int)) AS is_test
    FROM $(schema).shown_response
    WHERE kind IN (N'sent', N'delivered', N'read', N'played', N'failed')
        AND message_id IS NOT NULL
    GROUP BY message_id
),
answered AS (
    SELECT about_message_id AS message_id, COUNT(*) AS replies, MIN(replied_at) AS first_reply_at
    FROM $(schema).reply
    WHERE about_message_id IS NOT NULL
    GROUP BY about_message_id
),
marked AS (
    SELECT
        m.about_message_id AS message_id, COUNT(DISTINCT COALESCE(m.message_id, N'')) AS markers,
        MIN(m.occurred_at) AS first_marker_at
    FROM $(schema).shown_response AS m
    WHERE m.kind = N'reply_marker' AND m.about_message_id IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM $(schema).shown_response AS x
            WHERE x.about_message_id = m.about_message_id AND x.kind = N'replied'
        )
    GROUP BY m.about_message_id
)
SELECT
    s.*,
    (
        SELECT MIN(p.provider_message_id) FROM $(schema).message_id_pair AS p WHERE p.message_id = s.message_id
    ) AS provider_message_id,
    CASE
        WHEN s.read_at IS NOT NULL THEN N'read'
        WHEN s.delivered_at IS NOT NULL THEN N'delivered'
        WHEN s.failed_at IS NOT NULL THEN N'failed'
        ELSE N'sent'
    END AS status,
    (
        SELECT TOP (1) x.emoji FROM $(schema).reaction_current AS x
        WHERE x.about_message_id = s.message_id
        ORDER BY x.reacted_at DESC, x.message_id DESC
    ) AS reaction,
    COALESCE(a.replies, m.markers, 0) AS reply_count,
    COALESCE(a.first_reply_at, m.first_marker_at) AS first_reply_at,
    (
        SELECT TOP (1) x.reply_text FROM $(schema).reply AS x
        WHERE x.about_message_id = s.message_id
        ORDER BY x.replied_at, x.message_id
    ) AS first_reply_text
FROM receipt AS s
LEFT JOIN answered AS a ON a.message_id = s.message_id
LEFT JOIN marked AS m ON m.message_id = s.message_id;
GO

-- One of our messages with the row of the map that it belongs to, and the values of its receipts where the map has
-- none; or a row of the map without any receipt so far. The message's id counts before its client reference. A
-- reference may stand for a whole campaign, or in several rows for several people: then the row with the message's
-- own phone counts, before a row without a phone. The map may have either id of a message; if two rows have one each, the
-- row with WhatsApp's id counts, and the other is left out. SQL Server ignores trailing blanks in a comparison; so that
-- two references are never taken for one, their lengths are compared as well.
CREATE VIEW $(schema).mapped_message AS
WITH paired AS (
    SELECT m.id AS map_id, MIN(p.message_id) AS message_id
    FROM $(schema).message_map AS m
    JOIN $(schema).message_id_pair AS p ON p.provider_message_id = m.message_id
    GROUP BY m.id
),
ours AS (
    SELECT
        message_id, MIN(client_reference) AS client_reference, MIN(phone) AS phone, MIN(user_id) AS user_id,
        MIN(business_phone) AS business_phone, MIN(group_id) AS group_id, MIN(endpoint) AS endpoint,
        MIN(CASE WHEN kind = N'sent' THEN occurred_at END) AS sent_at,
        MIN(CASE WHEN kind IN (N'delivered', N'read', N'played') THEN occurred_at END) AS delivered_at,
        MIN(CASE WHEN kind = N'failed' THEN occurred_at END) AS failed_at,
        MAX(CAST(is_test AS int)) AS is_test
    FROM $(schema).shown_response
    WHERE kind IN (N'sent', N'delivered', N'read', N'played', N'failed')
        AND message_id IS NOT NULL
    GROUP BY message_id
),
link AS (
    SELECT m.id AS map_id, 1 AS preference, s.*
    FROM $(schema).message_map AS m
    JOIN ours AS s ON s.message_id = m.message_id
    UNION ALL
    SELECT p.map_id, 1, s.*
    FROM paired AS p
    JOIN ours AS s ON s.message_id = p.message_id
    WHERE NOT EXISTS (SELECT 1 FROM $(schema).message_map AS x WHERE x.message_id = p.message_id)
    UNION ALL
    SELECT m.id, 2, s.*
    FROM $(schema).message_map AS m
    JOIN ours AS s ON s.client_reference = m.client_reference
        AND DATALENGTH(s.client_reference) = DATALENGTH(m.client_reference) AND s.phone = m.phone
    UNION ALL
    SELECT m.id, 3, s.*
    FROM $(schema).message_map AS m
    JOIN ours AS s ON s.client_reference = m.client_reference
        AND DATALENGTH(s.client_reference) = DATALENGTH(m.client_reference) AND (s.phone IS NULL OR m.phone IS NULL)
),
best AS (
    SELECT link.*, ROW_NUMBER() OVER (PARTITION BY message_id ORDER BY preference, map_id DESC) AS place
    FROM link
)
SELECT
    m.id AS map_id, m.campaign, m.communication_key, m.urn, m.message_name,
    COALESCE(b.message_id, p.message_id, m.message_id) AS message_id,
    COALESCE(m.client_reference, b.client_reference) AS client_reference,
    COALESCE(b.phone, m.phone) AS phone,
    b.user_id, b.group_id, b.endpoint,
    COALESCE(b.business_phone, m.business_phone) AS business_phone,
    COALESCE(m.sent_at, b.sent_at, b.delivered_at, b.failed_at) AS sent_at,
    CASE WHEN b.preference > 1 THEN N'reference' ELSE N'message' END AS [rule],
    CASE WHEN b.failed_at IS NOT NULL AND b.delivered_at IS NULL THEN 1 ELSE 0 END AS failed,
    COALESCE(b.is_test, 0) AS is_test
FROM $(schema).message_map AS m
LEFT JOIN best AS b ON b.map_id = m.id AND b.place = 1
LEFT JOIN paired AS p ON p.map_id = m.id
WHERE NOT EXISTS (SELECT 1 FROM $(schema).message_map AS x WHERE x.message_id = p.message_id);
GO

-- One response with the campaign and the message of ours that it belongs to, and the rule that found them:
-- `message` (its own id is mapped), `reference` (its message's client reference is), `about` (the message it
-- is about is), or `recent` (an answer without any of these: the latest message to that person from that
-- number within attribution_hours, unless it failed). If only one of the two has our number, the endpoint must be the
-- same.
CREATE VIEW $(schema).response_campaign AS
WITH typed AS (
    SELECT
        id, phone, user_id, business_phone, endpoint, occurred_at,
        DATEADD(
            hour, -(SELECT CAST(value AS int) FROM $(schema).setting WHERE name = N'attribution_hours'),
            occurred_at
        ) AS since
    FROM $(schema).shown_response
    WHERE kind IN (N'replied', N'opted_out', N'opted_in')
        AND about_message_id IS NULL AND group_id IS NULL
),
candidate AS (
    SELECT r.id, m.map_id, m.message_id AS our_message_id, 1 AS preference, m.[rule] AS found_by, m.sent_at
    FROM $(schema).mapped_message AS m
    JOIN $(schema).shown_response AS r ON r.message_id = m.message_id
    UNION ALL
    SELECT
        r.id, m.id, r.about_message_id, CASE WHEN m.phone = r.phone THEN 2 ELSE 3 END, N'reference', m.sent_at
    FROM $(schema).shown_response AS r
    JOIN $(schema).message_map AS m ON m.client_reference = r.client_reference
        AND DATALENGTH(m.client_reference) = DATALENGTH(r.client_reference)
    WHERE r.kind NOT IN (N'sent', N'delivered', N'read', N'played', N'failed')
        AND (m.phone IS NULL OR r.phone IS NULL OR m.phone = r.phone)
    UNION ALL
    SELECT r.id, m.map_id, m.message_id, 4, N'about', m.sent_at
    FROM $(schema).mapped_message AS m
    JOIN $(schema).shown_response AS r ON r.about_message_id = m.message_id
    UNION ALL
    SELECT r.id, m.map_id, m.message_id, 5, N'recent', m.sent_at
    FROM typed AS r
    JOIN $(schema).mapped_message AS m ON m.phone = r.phone
    WHERE m.sent_at <= r.occurred_at AND m.sent_at >= r.since AND m.group_id IS NULL AND m.failed = 0
        AND (
            m.business_phone = r.business_phone
            OR ((m.business_phone IS NULL OR r.business_phone IS NULL) AND m.endpoint = r.endpoint)
        )
    UNION ALL
    SELECT r.id, m.map_id, m.message_id, 5, N'recent', m.sent_at
    FROM typed AS r
    JOIN $(schema).mapped_message AS m ON m.user_id = r.user_id
    WHERE m.sent_at <= r.occurred_at AND m.sent_at >= r.since AND m.group_id IS NULL AND m.failed = 0
        AND (
            m.business_phone = r.business_phone
            OR ((m.business_phone IS NULL OR r.business_phone IS NULL) AND m.endpoint = r.endpoint)
        )
),
best AS (
    SELECT
        id, map_id, our_message_id, found_by,
        ROW_NUMBER() OVER (PARTITION BY id ORDER BY preference, sent_at DESC, map_id, our_message_id) AS place
    FROM candidate
)
SELECT
    r.*, m.id AS map_id, m.campaign, m.communication_key, m.urn, m.message_name, b.our_message_id,
    b.found_by AS [rule]
FROM best AS b
JOIN $(schema).shown_response AS r ON r.id = b.id
JOIN $(schema).message_map AS m ON m.id = b.map_id
WHERE b.place = 1 AND NOT EXISTS (SELECT 1 FROM $(schema).response_duplicate AS d WHERE d.id = r.id);
GO

-- One campaign and day of sending: how many of its messages were sent, delivered, read and so on. Each message counts
-- once, with its current replies and reactions; a failure counts if nothing shows that the message arrived.
CREATE VIEW $(schema).campaign_funnel AS
WITH standing AS (
    SELECT message_id, N'replied' AS kind FROM $(schema).reply
    UNION
    SELECT message_id, N'reacted' FROM $(schema).reaction_current
),
replied_to AS (
    SELECT DISTINCT about_message_id
    FROM $(schema).shown_response
    WHERE kind = N'replied' AND about_message_id IS NOT NULL
),
reached AS (
    SELECT
        c.map_id,
        COALESCE(c.our_message_id, N'') AS our_message_id,
        MAX(CASE WHEN c.kind IN (N'sent', N'delivered', N'read', N'played') THEN 1 ELSE 0 END) AS sent,
        MAX(CASE WHEN c.kind IN (N'delivered', N'read', N'played') THEN 1 ELSE 0 END) AS delivered,
        MAX(CASE WHEN c.kind IN (N'read', N'played') THEN 1 ELSE 0 END) AS [read],
        MAX(CASE
            WHEN c.kind = N'reply_marker' AND a.about_message_id IS NULL THEN 1
            WHEN c.kind = N'replied' AND s.message_id IS NOT NULL THEN 1
            ELSE 0
        END) AS replied,
        MAX(CASE WHEN c.kind = N'reacted' AND s.message_id IS NOT NULL THEN 1 ELSE 0 END) AS reacted,
        MAX(CASE WHEN c.kind = N'failed' THEN 1 ELSE 0 END) AS failed,
        MAX(CASE WHEN c.kind = N'opted_out' THEN 1 ELSE 0 END) AS opted_out
    FROM $(schema).response_campaign AS c
    LEFT JOIN standing AS s ON s.message_id = c.message_id AND s.kind = c.kind
    LEFT JOIN replied_to AS a ON a.about_message_id = c.about_message_id
    GROUP BY c.map_id, COALESCE(c.our_message_id, N'')
)
SELECT
    m.campaign,
    CAST(m.sent_at AS date) AS sent_on,
    COUNT(*) AS mapped,
    COALESCE(SUM(x.sent), 0) AS sent,
    COALESCE(SUM(x.delivered), 0) AS delivered,
    COALESCE(SUM(x.[read]), 0) AS [read],
    COALESCE(SUM(x.replied), 0) AS replied,
    COALESCE(SUM(x.reacted), 0) AS reacted,
    COALESCE(SUM(CASE WHEN x.delivered = 0 THEN x.failed END), 0) AS failed,
    COALESCE(SUM(x.opted_out), 0) AS opted_out,
    CAST(ROUND(1.0 * COALESCE(SUM(x.delivered), 0) / COUNT(*), 4) AS float) AS delivered_rate,
    CAST(ROUND(1.0 * COALESCE(SUM(x.[read]), 0) / NULLIF(SUM(x.delivered), 0), 4) AS float) AS read_rate,
    CAST(ROUND(1.0 * COALESCE(SUM(x.replied), 0) / NULLIF(SUM(x.delivered), 0), 4) AS float) AS replied_rate,
    CAST(ROUND(1.0 * COALESCE(SUM(CASE WHEN x.delivered = 0 THEN x.failed END), 0) / COUNT(*), 4) AS float)
        AS failed_rate,
    m.is_test
FROM $(schema).mapped_message AS m
LEFT JOIN reached AS x ON x.map_id = m.map_id AND x.our_message_id = COALESCE(m.message_id, N'')
GROUP BY m.campaign, CAST(m.sent_at AS date), m.is_test;
GO

-- The version is recorded last: without it, the scripts did not run to their end.
IF NOT EXISTS (SELECT 1 FROM $(schema).schema_version WHERE number = 1)
    INSERT INTO $(schema).schema_version (number, required) VALUES (1, 1);
GO
