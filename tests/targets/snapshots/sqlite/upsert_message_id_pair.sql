-- Insert a row of message_id_pair, or fill it from another delivery of the same fact, as gatherer/model/merge.py does: NULL
-- is filled; where two deliveries contradict each other the smaller value in binary order wins, per group of columns
-- that belong together. A text that was blanked stays so, and nothing is written when nothing changes.
INSERT INTO message_id_pair (
    key, provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, provider_message_id, message_id, inserted_at, changed_at, commit_number
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
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
    provider_message_id = min(provider_message_id, excluded.provider_message_id),
    message_id = min(message_id, excluded.message_id),
    changed_at = excluded.changed_at,
    commit_number = excluded.commit_number
WHERE
    (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider)
    -- Most redeliveries have the same values again: comparing all of them at once costs half as much.
    OR (
        (
            excluded.occurred_at, excluded.occurred_at_source, excluded.account_id, excluded.is_test,
            excluded.provider_message_id, excluded.message_id
        ) IS NOT (
            occurred_at, occurred_at_source, account_id, is_test, provider_message_id, message_id
        )
        AND (
            (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at)
            OR excluded.account_id < account_id OR (account_id IS NULL AND excluded.account_id IS NOT NULL)
            OR excluded.is_test < is_test
            OR excluded.provider_message_id < provider_message_id
            OR excluded.message_id < message_id
        )
    )
