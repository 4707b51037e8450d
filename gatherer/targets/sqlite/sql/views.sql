-- What reports read. Test rows (dashboard tests, simulated traffic) are in none of these views but response_local,
-- unless shown_response has them. `person` is the phone number, or the user id where WhatsApp withholds the number.

-- One response with its times in the site's time zone.
CREATE VIEW response_local AS
SELECT
    r.*,
    strftime('%Y-%m-%d %H:%M:%f', r.occurred_at, o.offset_minutes || ' minutes') AS occurred_local,
    strftime('%Y-%m-%d %H:%M:%f', r.received_at, p.offset_minutes || ' minutes') AS received_local
FROM response AS r
JOIN time_zone_offset AS o ON o.starts_at <= r.occurred_at AND r.occurred_at < o.ends_at
JOIN time_zone_offset AS p ON p.starts_at <= r.received_at AND r.received_at < p.ends_at;

-- The responses that the views below are about: without test rows. `gatherer schema apply --include-tests` makes this
-- view anew without its condition, so that the views show test rows as well; is_test marks them.
CREATE VIEW shown_response AS
SELECT *
FROM response
WHERE is_test = 0;

-- The rows that tell a fact once more: they came with another id of a message than the row that counts. Pairs of ids have
-- shown that both are one message. The row that came with WhatsApp's id counts, else the one with the smallest id.
CREATE VIEW response_duplicate AS
SELECT r.id
FROM response AS r
WHERE r.original_message_id IS NOT NULL
    AND EXISTS (
        SELECT 1 FROM response AS x
        WHERE x.message_id = r.message_id AND x.kind = r.kind AND x.is_test = r.is_test
            AND (x.original_message_id IS NULL OR x.original_message_id < r.original_message_id)
            -- The receipts of one message to a group are different facts.
            AND (r.group_id IS NULL OR coalesce(x.phone, x.user_id) = coalesce(r.phone, r.user_id))
    );

-- One reply in its current state: with the text of its latest edit. A revoked reply has no row. On-Premises reports
-- that as a status `deleted`.
CREATE VIEW reply AS
SELECT
    r.message_id, r.about_message_id, r.provider, r.endpoint, r.account_id, r.phone_number_id, r.business_phone,
    r.phone, r.user_id, coalesce(r.phone, r.user_id) AS person, r.profile_name, r.group_id,
    (
        SELECT min(p.provider_message_id) FROM message_id_pair AS p WHERE p.message_id = r.message_id
    ) AS provider_message_id,
    r.occurred_at AS replied_at, r.reply_type,
    CASE WHEN e.id IS NULL THEN r.reply_text ELSE e.reply_text END AS reply_text,
    r.reply_payload, r.media_id, r.media_type, e.occurred_at AS edited_at, r.is_test
FROM shown_response AS r
LEFT JOIN shown_response AS e ON e.id = (
    SELECT x.id FROM shown_response AS x
    WHERE x.about_message_id = r.message_id AND x.kind = 'edited'
    ORDER BY x.occurred_at DESC, x.message_id DESC
    LIMIT 1
)
WHERE r.kind = 'replied'
    AND NOT EXISTS (SELECT 1 FROM response_duplicate AS d WHERE d.id = r.id)
    AND NOT EXISTS (
        SELECT 1 FROM shown_response AS x
        WHERE x.about_message_id = r.message_id AND x.kind = 'revoked'
    )
    AND NOT EXISTS (
        SELECT 1 FROM other_event AS x
        WHERE x.message_id = r.message_id AND x.family = 'statuses' AND x.name = 'deleted' AND x.is_test = r.is_test
    )
    AND NOT EXISTS (
        SELECT 1 FROM message_id_pair AS p
        JOIN other_event AS x ON x.message_id = p.provider_message_id
        WHERE p.message_id = r.message_id AND x.family = 'statuses' AND x.name = 'deleted' AND x.is_test = r.is_test
    );

-- The current reaction of one person to one message. A reaction that was taken back has no row.
-- An emoji that could not be read is NULL, and still a reaction. WhatsApp may name one person by phone and
-- later by user id alone: a receipt or another answer to the same message may have both.
CREATE VIEW reaction_current AS
SELECT
    message_id, about_message_id, provider, endpoint, account_id, phone_number_id, business_phone, phone, user_id,
    person, profile_name, emoji, occurred_at AS reacted_at, is_test
FROM (
    SELECT
        told.*,
        coalesce(phone, user_id) AS person,
        row_number() OVER (
            PARTITION BY about_message_id, coalesce(phone, user_id)
            -- In one second: the removal, else what was received last
            ORDER BY
                occurred_at DESC, CASE WHEN emoji = '' THEN 0 ELSE 1 END, received_at DESC, notification_id DESC,
                message_id DESC
        ) AS recency
    FROM (
        SELECT
            r.message_id, r.about_message_id, r.provider, r.endpoint, r.account_id, r.phone_number_id,
            r.business_phone, r.user_id, r.profile_name, r.emoji, r.occurred_at, r.is_test,
            r.received_at, r.notification_id,
            coalesce(r.phone, (
                SELECT min(x.phone) FROM shown_response AS x
                WHERE x.user_id = r.user_id
                    AND (x.message_id = r.about_message_id OR x.about_message_id = r.about_message_id)
            )) AS phone
        FROM shown_response AS r
        WHERE r.kind = 'reacted' AND r.about_message_id IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM response_duplicate AS d WHERE d.id = r.id)
    ) AS told
)
WHERE recency = 1 AND (emoji IS NULL OR emoji <> '');

-- Whether one person wants marketing from one of our numbers: the latest opt-out or opt-in counts, and of two at the
-- same time the opt-out. If it has only a user id, the phone is the one that any response has with this user id.
-- source: `keyword`, a reply that was typed or tapped; or `preference`, what the person set in WhatsApp itself.
CREATE VIEW opt_out_current AS
WITH known AS (
    SELECT user_id, min(phone) AS phone
    FROM shown_response
    WHERE phone IS NOT NULL AND user_id IN (
        SELECT user_id FROM response WHERE kind IN ('opted_out', 'opted_in') AND phone IS NULL
    )
    GROUP BY user_id
),
told AS (
    SELECT
        r.message_id, r.kind, r.occurred_at, r.provider, r.endpoint, r.phone_number_id, r.business_phone,
        r.user_id, r.id, r.reply_type, r.is_test,
        coalesce(r.phone, k.phone) AS phone
    FROM shown_response AS r
    LEFT JOIN known AS k ON k.user_id = r.user_id
    WHERE r.kind IN ('opted_out', 'opted_in')
        AND NOT EXISTS (SELECT 1 FROM response_duplicate AS d WHERE d.id = r.id)
)
SELECT
    person, phone, user_id, phone_number_id, business_phone,
    CASE WHEN kind = 'opted_out' THEN 1 ELSE 0 END AS opted_out,
    occurred_at AS since, provider, endpoint,
    CASE WHEN reply_type = 'keyword' THEN 'keyword' ELSE 'preference' END AS source, id AS response_id,
    is_test
FROM (
    SELECT
        told.*,
        coalesce(phone, user_id) AS person,
        row_number() OVER (
            PARTITION BY coalesce(phone, user_id, CAST(id AS TEXT)), coalesce(phone_number_id, business_phone), is_test
            ORDER BY occurred_at DESC, CASE WHEN kind = 'opted_out' THEN 0 ELSE 1 END, message_id
        ) AS recency
    FROM told
)
WHERE recency = 1;

-- One name and value of one Flow answer. An answer that is not a JSON object is in `reply` alone.
CREATE VIEW flow_answer AS
SELECT
    r.message_id, r.about_message_id, r.person, r.phone, r.user_id, r.business_phone, r.replied_at, r.is_test,
    j.key AS name,
    CASE j.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(j.value AS TEXT) END AS value
FROM reply AS r, json_each(r.reply_payload) AS j
WHERE r.reply_type = 'flow' AND json_valid(r.reply_payload) AND json_type(r.reply_payload) = 'object';

-- One of our messages, with everything known about it. A read or played message was delivered, even if no receipt
-- reported that. A reply marker counts only if the reply itself was never received; if it was received and revoked, the
-- marker does not count.
CREATE VIEW message_status AS
WITH receipt AS (
    SELECT
        message_id,
        min(provider) AS provider,
        min(endpoint) AS endpoint,
        min(account_id) AS account_id,
        min(phone_number_id) AS phone_number_id,
        min(business_phone) AS business_phone,
        min(phone) AS phone,
        min(user_id) AS user_id,
        min(group_id) AS group_id,
        min(client_reference) AS client_reference,
        min(CASE WHEN kind = 'sent' THEN occurred_at END) AS sent_at,
        min(CASE WHEN kind IN ('delivered', 'read', 'played') THEN occurred_at END) AS delivered_at,
        min(CASE WHEN kind IN ('read', 'played') THEN occurred_at END) AS read_at,
        min(CASE WHEN kind = 'failed' THEN occurred_at END) AS failed_at,
        min(CASE WHEN kind = 'failed' THEN error_code END) AS error_code,
        min(CASE WHEN kind = 'failed' THEN error_title END) AS error_title,
        min(CASE WHEN kind = 'failed' THEN error_details END) AS error_details,
        max(is_test) AS is_test
    FROM shown_response
    WHERE kind IN ('sent', 'delivered', 'read', 'played', 'failed') AND message_id IS NOT NULL
    GROUP BY message_id
),
answered AS (
    SELECT about_message_id AS message_id, count(*) AS replies, min(replied_at) AS first_reply_at
    FROM reply
    WHERE about_message_id IS NOT NULL
    GROUP BY about_message_id
),
marked AS (
    SELECT
        m.about_message_id AS message_id, count(DISTINCT coalesce(m.message_id, '')) AS markers,
        min(m.occurred_at) AS first_marker_at
    FROM shown_response AS m
    WHERE m.kind = 'reply_marker' AND m.about_message_id IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM shown_response AS x
            WHERE x.about_message_id = m.about_message_id AND x.kind = 'replied'
        )
    GROUP BY m.about_message_id
)
SELECT
    s.*,
    (
        SELECT min(p.provider_message_id) FROM message_id_pair AS p WHERE p.message_id = s.message_id
    ) AS provider_message_id,
    CASE
        WHEN s.read_at IS NOT NULL THEN 'read'
        WHEN s.delivered_at IS NOT NULL THEN 'delivered'
        WHEN s.failed_at IS NOT NULL THEN 'failed'
        ELSE 'sent'
    END AS status,
    (
        SELECT x.emoji FROM reaction_current AS x
        WHERE x.about_message_id = s.message_id
        ORDER BY x.reacted_at DESC, x.message_id DESC
        LIMIT 1
    ) AS reaction,
    coalesce(a.replies, m.markers, 0) AS reply_count,
    coalesce(a.first_reply_at, m.first_marker_at) AS first_reply_at,
    (
        SELECT x.reply_text FROM reply AS x
        WHERE x.about_message_id = s.message_id
        ORDER BY x.replied_at, x.message_id
        LIMIT 1
    ) AS first_reply_text
FROM receipt AS s
LEFT JOIN answered AS a ON a.message_id = s.message_id
LEFT JOIN marked AS m ON m.message_id = s.message_id;

-- One of our messages with the row of the map that it belongs to, and the values of its receipts where the map has
-- none; or a row of the map without any receipt so far. The message's id counts before its client reference. A
-- reference may stand for a whole campaign, or in several rows for several people: then the row with the message's
-- own phone counts, before a row without a phone. The map may have either id of a message; if two rows have one each, the
-- row with WhatsApp's id counts, and the other is left out.
CREATE VIEW mapped_message AS
WITH paired AS (
    SELECT m.id AS map_id, min(p.message_id) AS message_id
    FROM message_map AS m
    JOIN message_id_pair AS p ON p.provider_message_id = m.message_id
    GROUP BY m.id
),
ours AS (
    SELECT
        message_id, min(client_reference) AS client_reference, min(phone) AS phone, min(user_id) AS user_id,
        min(business_phone) AS business_phone, min(group_id) AS group_id, min(endpoint) AS endpoint,
        min(CASE WHEN kind = 'sent' THEN occurred_at END) AS sent_at,
        min(CASE WHEN kind IN ('delivered', 'read', 'played') THEN occurred_at END) AS delivered_at,
        min(CASE WHEN kind = 'failed' THEN occurred_at END) AS failed_at,
        max(is_test) AS is_test
    FROM shown_response
    WHERE kind IN ('sent', 'delivered', 'read', 'played', 'failed') AND message_id IS NOT NULL
    GROUP BY message_id
),
link AS (
    SELECT m.id AS map_id, 1 AS rank, s.*
    FROM message_map AS m
    JOIN ours AS s ON s.message_id = m.message_id
    UNION ALL
    SELECT p.map_id, 1, s.*
    FROM paired AS p
    JOIN ours AS s ON s.message_id = p.message_id
    WHERE NOT EXISTS (SELECT 1 FROM message_map AS x WHERE x.message_id = p.message_id)
    UNION ALL
    SELECT m.id, 2, s.*
    FROM message_map AS m
    JOIN ours AS s ON s.client_reference = m.client_reference AND s.phone = m.phone
    UNION ALL
    SELECT m.id, 3, s.*
    FROM message_map AS m
    JOIN ours AS s ON s.client_reference = m.client_reference AND (s.phone IS NULL OR m.phone IS NULL)
),
best AS (
    SELECT link.*, row_number() OVER (PARTITION BY message_id ORDER BY rank, map_id DESC) AS place
    FROM link
)
SELECT
    m.id AS map_id, m.campaign, m.communication_key, m.urn, m.message_name,
    coalesce(b.message_id, p.message_id, m.message_id) AS message_id,
    coalesce(m.client_reference, b.client_reference) AS client_reference,
    CAST(coalesce(b.phone, m.phone) AS TEXT) AS phone,  -- text by type, or SQLite makes no index for it
    CAST(b.user_id AS TEXT) AS user_id, b.group_id, b.endpoint,
    coalesce(b.business_phone, m.business_phone) AS business_phone,
    coalesce(
        strftime('%Y-%m-%d %H:%M:%f', m.sent_at), b.sent_at, b.delivered_at, b.failed_at
    ) AS sent_at,
    CASE WHEN b.rank > 1 THEN 'reference' ELSE 'message' END AS rule,
    CASE WHEN b.failed_at IS NOT NULL AND b.delivered_at IS NULL THEN 1 ELSE 0 END AS failed,
    coalesce(b.is_test, 0) AS is_test
FROM message_map AS m
LEFT JOIN best AS b ON b.map_id = m.id AND b.place = 1
LEFT JOIN paired AS p ON p.map_id = m.id
WHERE NOT EXISTS (SELECT 1 FROM message_map AS x WHERE x.message_id = p.message_id);

-- One response with the campaign and the message of ours that it belongs to, and the rule that found them:
-- `message` (its own id is mapped), `reference` (its message's client reference is), `about` (the message it
-- is about is), or `recent` (an answer without any of these: the latest message to that person from that
-- number within attribution_hours, unless it failed). If only one of the two has our number, the endpoint must be the
-- same.
CREATE VIEW response_campaign AS
WITH mapped AS MATERIALIZED (
    SELECT * FROM mapped_message
),
typed AS MATERIALIZED (
    SELECT
        id, phone, user_id, business_phone, endpoint, occurred_at,
        strftime(
            '%Y-%m-%d %H:%M:%f', occurred_at,
            '-' || (SELECT value FROM setting WHERE name = 'attribution_hours') || ' hours'
        ) AS since
    FROM shown_response
    WHERE kind IN ('replied', 'opted_out', 'opted_in')
        AND about_message_id IS NULL AND group_id IS NULL
),
candidate AS (
    SELECT r.id, m.map_id, m.message_id AS our_message_id, 1 AS rank, m.rule, m.sent_at
    FROM mapped AS m
    CROSS JOIN shown_response AS r ON r.message_id = m.message_id
    UNION ALL
    SELECT r.id, m.id, r.about_message_id, CASE WHEN m.phone = r.phone THEN 2 ELSE 3 END, 'reference', m.sent_at
    FROM shown_response AS r
    JOIN message_map AS m ON m.client_reference = r.client_reference
    WHERE r.kind NOT IN ('sent', 'delivered', 'read', 'played', 'failed')
        AND (m.phone IS NULL OR r.phone IS NULL OR m.phone = r.phone)
    UNION ALL
    SELECT r.id, m.map_id, m.message_id, 4, 'about', m.sent_at
    FROM mapped AS m
    CROSS JOIN shown_response AS r ON r.about_message_id = m.message_id
    UNION ALL
    SELECT r.id, m.map_id, m.message_id, 5, 'recent', m.sent_at
    FROM typed AS r
    CROSS JOIN mapped AS m ON m.phone = r.phone
    WHERE m.sent_at <= r.occurred_at AND m.sent_at >= r.since AND m.group_id IS NULL AND m.failed < 1
        AND CASE
            WHEN m.business_phone IS NULL OR r.business_phone IS NULL THEN m.endpoint = r.endpoint
            ELSE m.business_phone = r.business_phone
        END
    UNION ALL
    SELECT r.id, m.map_id, m.message_id, 5, 'recent', m.sent_at
    FROM typed AS r
    CROSS JOIN mapped AS m ON m.user_id = r.user_id
    WHERE m.sent_at <= r.occurred_at AND m.sent_at >= r.since AND m.group_id IS NULL AND m.failed < 1
        AND CASE
            WHEN m.business_phone IS NULL OR r.business_phone IS NULL THEN m.endpoint = r.endpoint
            ELSE m.business_phone = r.business_phone
        END
),
best AS (
    SELECT
        id, map_id, our_message_id, rule,
        row_number() OVER (PARTITION BY id ORDER BY rank, sent_at DESC, map_id, our_message_id) AS place
    FROM candidate
)
SELECT r.*, m.id AS map_id, m.campaign, m.communication_key, m.urn, m.message_name, b.our_message_id, b.rule
FROM best AS b
JOIN shown_response AS r ON r.id = b.id
JOIN message_map AS m ON m.id = b.map_id
WHERE b.place = 1 AND NOT EXISTS (SELECT 1 FROM response_duplicate AS d WHERE d.id = r.id);

-- One campaign and day of sending: how many of its messages were sent, delivered, read and so on. Each message counts
-- once, with its current replies and reactions; a failure counts if nothing shows that the message arrived.
CREATE VIEW campaign_funnel AS
WITH reached AS (
    SELECT
        map_id,
        coalesce(our_message_id, '') AS our_message_id,
        max(CASE WHEN kind IN ('sent', 'delivered', 'read', 'played') THEN 1 ELSE 0 END) AS sent,
        max(CASE WHEN kind IN ('delivered', 'read', 'played') THEN 1 ELSE 0 END) AS delivered,
        max(CASE WHEN kind IN ('read', 'played') THEN 1 ELSE 0 END) AS read,
        max(CASE
            WHEN kind = 'reply_marker' AND about_message_id NOT IN (
                SELECT x.about_message_id FROM shown_response AS x
                WHERE x.kind = 'replied' AND x.about_message_id IS NOT NULL
            ) THEN 1
            WHEN kind = 'replied' AND message_id IN (SELECT message_id FROM reply) THEN 1
            ELSE 0
        END) AS replied,
        max(CASE
            WHEN kind = 'reacted' AND message_id IN (SELECT message_id FROM reaction_current) THEN 1
            ELSE 0
        END) AS reacted,
        max(CASE WHEN kind = 'failed' THEN 1 ELSE 0 END) AS failed,
        max(CASE WHEN kind = 'opted_out' THEN 1 ELSE 0 END) AS opted_out
    FROM response_campaign
    GROUP BY map_id, coalesce(our_message_id, '')
)
SELECT
    m.campaign,
    substr(m.sent_at, 1, 10) AS sent_on,
    count(*) AS mapped,
    coalesce(sum(x.sent), 0) AS sent,
    coalesce(sum(x.delivered), 0) AS delivered,
    coalesce(sum(x.read), 0) AS read,
    coalesce(sum(x.replied), 0) AS replied,
    coalesce(sum(x.reacted), 0) AS reacted,
    coalesce(sum(CASE WHEN x.delivered = 0 THEN x.failed END), 0) AS failed,
    coalesce(sum(x.opted_out), 0) AS opted_out,
    round(1.0 * coalesce(sum(x.delivered), 0) / count(*), 4) AS delivered_rate,
    round(1.0 * coalesce(sum(x.read), 0) / nullif(sum(x.delivered), 0), 4) AS read_rate,
    round(1.0 * coalesce(sum(x.replied), 0) / nullif(sum(x.delivered), 0), 4) AS replied_rate,
    round(1.0 * coalesce(sum(CASE WHEN x.delivered = 0 THEN x.failed END), 0) / count(*), 4) AS failed_rate,
    m.is_test
FROM mapped_message AS m
LEFT JOIN reached AS x ON x.map_id = m.map_id AND x.our_message_id = coalesce(m.message_id, '')
GROUP BY m.campaign, substr(m.sent_at, 1, 10), m.is_test;
