-- Insert a row of other_event, or fill it from another delivery of the same fact, as gatherer/model/merge.py does: NULL
-- is filled; where two deliveries contradict each other the smaller value in binary order wins, per group of columns
-- that belong together. A text that was blanked stays so, and nothing is written when nothing changes.
INSERT INTO other_event (
    key, provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, family, name, message_id, phone, user_id, details, inserted_at, changed_at,
    commit_number
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
)
ON CONFLICT (key) DO UPDATE SET
    occurred_at_source = CASE WHEN (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at) THEN excluded.occurred_at_source ELSE occurred_at_source END,
    occurred_at = CASE WHEN (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at) THEN excluded.occurred_at ELSE occurred_at END,
    received_at = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.received_at ELSE received_at END,
    inbox_id = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.inbox_id ELSE inbox_id END,
    notification_id = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.notification_id ELSE notification_id END,
    endpoint = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.endpoint ELSE endpoint END,
    provider = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.provider ELSE provider END,
    account_id = coalesce(min(account_id, excluded.account_id), account_id, excluded.account_id),
    is_test = min(is_test, excluded.is_test),
    family = min(family, excluded.family),
    name = coalesce(min(name, excluded.name), name, excluded.name),
    message_id = coalesce(min(message_id, excluded.message_id), message_id, excluded.message_id),
    phone = coalesce(min(phone, excluded.phone), phone, excluded.phone),
    user_id = coalesce(min(user_id, excluded.user_id), user_id, excluded.user_id),
    details = coalesce(min(details, excluded.details), details, excluded.details),
    changed_at = excluded.changed_at,
    commit_number = excluded.commit_number
WHERE
    (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider)
    -- Most redeliveries have the same values again: comparing all of them at once costs half as much.
    OR (
        (
            excluded.occurred_at, excluded.occurred_at_source, excluded.account_id, excluded.is_test,
            excluded.family, excluded.name, excluded.message_id, excluded.phone, excluded.user_id,
            excluded.details
        ) IS NOT (
            occurred_at, occurred_at_source, account_id, is_test, family, name, message_id, phone, user_id,
            details
        )
        AND (
            (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at)
            OR excluded.account_id < account_id OR (account_id IS NULL AND excluded.account_id IS NOT NULL)
            OR excluded.is_test < is_test
            OR excluded.family < family
            OR excluded.name < name OR (name IS NULL AND excluded.name IS NOT NULL)
            OR excluded.message_id < message_id OR (message_id IS NULL AND excluded.message_id IS NOT NULL)
            OR excluded.phone < phone OR (phone IS NULL AND excluded.phone IS NOT NULL)
            OR excluded.user_id < user_id OR (user_id IS NULL AND excluded.user_id IS NOT NULL)
            OR excluded.details < details OR (details IS NULL AND excluded.details IS NOT NULL)
        )
    )
