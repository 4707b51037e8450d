-- Insert a row of flow_event, or fill it from another delivery of the same fact, as gatherer/model/merge.py does: NULL
-- is filled; where two deliveries contradict each other the smaller value in binary order wins, per group of columns
-- that belong together. A text that was blanked stays so, and nothing is written when nothing changes.
INSERT INTO flow_event (
    key, provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, event, flow_id, message, old_status, new_status, alert_state, threshold,
    error_rate, availability, p50_latency_ms, p90_latency_ms, requests_count, errors, warning, details,
    inserted_at, changed_at, commit_number
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
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
    event = coalesce(min(event, excluded.event), event, excluded.event),
    flow_id = coalesce(min(flow_id, excluded.flow_id), flow_id, excluded.flow_id),
    message = coalesce(min(message, excluded.message), message, excluded.message),
    old_status = coalesce(min(old_status, excluded.old_status), old_status, excluded.old_status),
    new_status = coalesce(min(new_status, excluded.new_status), new_status, excluded.new_status),
    alert_state = coalesce(min(alert_state, excluded.alert_state), alert_state, excluded.alert_state),
    threshold = coalesce(min(threshold, excluded.threshold), threshold, excluded.threshold),
    error_rate = coalesce(min(error_rate, excluded.error_rate), error_rate, excluded.error_rate),
    availability = coalesce(min(availability, excluded.availability), availability, excluded.availability),
    p50_latency_ms = coalesce(min(p50_latency_ms, excluded.p50_latency_ms), p50_latency_ms, excluded.p50_latency_ms),
    p90_latency_ms = coalesce(min(p90_latency_ms, excluded.p90_latency_ms), p90_latency_ms, excluded.p90_latency_ms),
    requests_count = coalesce(min(requests_count, excluded.requests_count), requests_count, excluded.requests_count),
    errors = coalesce(min(errors, excluded.errors), errors, excluded.errors),
    warning = coalesce(min(warning, excluded.warning), warning, excluded.warning),
    details = coalesce(min(details, excluded.details), details, excluded.details),
    changed_at = excluded.changed_at,
    commit_number = excluded.commit_number
WHERE
    (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider)
    -- Most redeliveries have the same values again: comparing all of them at once costs half as much.
    OR (
        (
            excluded.occurred_at, excluded.occurred_at_source, excluded.account_id, excluded.is_test,
            excluded.event, excluded.flow_id, excluded.message, excluded.old_status, excluded.new_status,
            excluded.alert_state, excluded.threshold, excluded.error_rate, excluded.availability,
            excluded.p50_latency_ms, excluded.p90_latency_ms, excluded.requests_count, excluded.errors,
            excluded.warning, excluded.details
        ) IS NOT (
            occurred_at, occurred_at_source, account_id, is_test, event, flow_id, message, old_status,
            new_status, alert_state, threshold, error_rate, availability, p50_latency_ms, p90_latency_ms,
            requests_count, errors, warning, details
        )
        AND (
            (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at)
            OR excluded.account_id < account_id OR (account_id IS NULL AND excluded.account_id IS NOT NULL)
            OR excluded.is_test < is_test
            OR excluded.event < event OR (event IS NULL AND excluded.event IS NOT NULL)
            OR excluded.flow_id < flow_id OR (flow_id IS NULL AND excluded.flow_id IS NOT NULL)
            OR excluded.message < message OR (message IS NULL AND excluded.message IS NOT NULL)
            OR excluded.old_status < old_status OR (old_status IS NULL AND excluded.old_status IS NOT NULL)
            OR excluded.new_status < new_status OR (new_status IS NULL AND excluded.new_status IS NOT NULL)
            OR excluded.alert_state < alert_state OR (alert_state IS NULL AND excluded.alert_state IS NOT NULL)
            OR excluded.threshold < threshold OR (threshold IS NULL AND excluded.threshold IS NOT NULL)
            OR excluded.error_rate < error_rate OR (error_rate IS NULL AND excluded.error_rate IS NOT NULL)
            OR excluded.availability < availability OR (availability IS NULL AND excluded.availability IS NOT NULL)
            OR excluded.p50_latency_ms < p50_latency_ms OR (p50_latency_ms IS NULL AND excluded.p50_latency_ms IS NOT NULL)
            OR excluded.p90_latency_ms < p90_latency_ms OR (p90_latency_ms IS NULL AND excluded.p90_latency_ms IS NOT NULL)
            OR excluded.requests_count < requests_count OR (requests_count IS NULL AND excluded.requests_count IS NOT NULL)
            OR excluded.errors < errors OR (errors IS NULL AND excluded.errors IS NOT NULL)
            OR excluded.warning < warning OR (warning IS NULL AND excluded.warning IS NOT NULL)
            OR excluded.details < details OR (details IS NULL AND excluded.details IS NOT NULL)
        )
    )
