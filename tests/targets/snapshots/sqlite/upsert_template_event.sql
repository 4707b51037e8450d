-- Insert a row of template_event, or fill it from another delivery of the same fact, as gatherer/model/merge.py does: NULL
-- is filled; where two deliveries contradict each other the smaller value in binary order wins, per group of columns
-- that belong together. A text that was blanked stays so, and nothing is written when nothing changes.
INSERT INTO template_event (
    key, provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, field, event, template_id, template_name, template_language, template_category,
    reason, old_value, new_value, details, inserted_at, changed_at, commit_number
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
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
    field = min(field, excluded.field),
    event = coalesce(min(event, excluded.event), event, excluded.event),
    template_id = coalesce(min(template_id, excluded.template_id), template_id, excluded.template_id),
    template_name = coalesce(min(template_name, excluded.template_name), template_name, excluded.template_name),
    template_language = coalesce(min(template_language, excluded.template_language), template_language, excluded.template_language),
    template_category = coalesce(min(template_category, excluded.template_category), template_category, excluded.template_category),
    reason = coalesce(min(reason, excluded.reason), reason, excluded.reason),
    old_value = coalesce(min(old_value, excluded.old_value), old_value, excluded.old_value),
    new_value = coalesce(min(new_value, excluded.new_value), new_value, excluded.new_value),
    details = coalesce(min(details, excluded.details), details, excluded.details),
    changed_at = excluded.changed_at,
    commit_number = excluded.commit_number
WHERE
    (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider)
    -- Most redeliveries have the same values again: comparing all of them at once costs half as much.
    OR (
        (
            excluded.occurred_at, excluded.occurred_at_source, excluded.account_id, excluded.is_test,
            excluded.field, excluded.event, excluded.template_id, excluded.template_name,
            excluded.template_language, excluded.template_category, excluded.reason, excluded.old_value,
            excluded.new_value, excluded.details
        ) IS NOT (
            occurred_at, occurred_at_source, account_id, is_test, field, event, template_id, template_name,
            template_language, template_category, reason, old_value, new_value, details
        )
        AND (
            (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at)
            OR excluded.account_id < account_id OR (account_id IS NULL AND excluded.account_id IS NOT NULL)
            OR excluded.is_test < is_test
            OR excluded.field < field
            OR excluded.event < event OR (event IS NULL AND excluded.event IS NOT NULL)
            OR excluded.template_id < template_id OR (template_id IS NULL AND excluded.template_id IS NOT NULL)
            OR excluded.template_name < template_name OR (template_name IS NULL AND excluded.template_name IS NOT NULL)
            OR excluded.template_language < template_language OR (template_language IS NULL AND excluded.template_language IS NOT NULL)
            OR excluded.template_category < template_category OR (template_category IS NULL AND excluded.template_category IS NOT NULL)
            OR excluded.reason < reason OR (reason IS NULL AND excluded.reason IS NOT NULL)
            OR excluded.old_value < old_value OR (old_value IS NULL AND excluded.old_value IS NOT NULL)
            OR excluded.new_value < new_value OR (new_value IS NULL AND excluded.new_value IS NOT NULL)
            OR excluded.details < details OR (details IS NULL AND excluded.details IS NOT NULL)
        )
    )
