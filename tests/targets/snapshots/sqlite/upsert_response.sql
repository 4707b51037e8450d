-- Insert a row of response, or fill it from another delivery of the same fact, as gatherer/model/merge.py does: NULL
-- is filled; where two deliveries contradict each other the smaller value in binary order wins, per group of columns
-- that belong together. A text that was blanked stays so, and nothing is written when nothing changes.
INSERT INTO response (
    key, provider, endpoint, inbox_id, notification_id, received_at, occurred_at, occurred_at_source,
    account_id, is_test, kind, message_id, provider_message_id, about_message_id, phone, phone_raw,
    user_id, phone_number_id, business_phone, client_reference, profile_name, group_id, emoji,
    reply_type, reply_text, reply_payload, media_id, media_type, error_code, error_title, error_details,
    errors, pricing_category, pricing_model, pricing_type, billable, details, inserted_at, changed_at,
    commit_number
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?
)
ON CONFLICT (key) DO UPDATE SET
    occurred_at_source = CASE WHEN (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at) THEN excluded.occurred_at_source ELSE occurred_at_source END,
    occurred_at = CASE WHEN (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at) THEN excluded.occurred_at ELSE occurred_at END,
    received_at = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.received_at ELSE received_at END,
    inbox_id = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.inbox_id ELSE inbox_id END,
    notification_id = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.notification_id ELSE notification_id END,
    endpoint = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.endpoint ELSE endpoint END,
    provider = CASE WHEN (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider) THEN excluded.provider ELSE provider END,
    errors = CASE WHEN (excluded.errors IS NULL, coalesce(excluded.errors, ''), excluded.error_code IS NULL, coalesce(excluded.error_code, ''), excluded.error_title IS NULL, coalesce(excluded.error_title, ''), excluded.error_details IS NULL, coalesce(excluded.error_details, '')) < (errors IS NULL, coalesce(errors, ''), error_code IS NULL, coalesce(error_code, ''), error_title IS NULL, coalesce(error_title, ''), error_details IS NULL, coalesce(error_details, '')) THEN excluded.errors ELSE errors END,
    error_code = CASE WHEN (excluded.errors IS NULL, coalesce(excluded.errors, ''), excluded.error_code IS NULL, coalesce(excluded.error_code, ''), excluded.error_title IS NULL, coalesce(excluded.error_title, ''), excluded.error_details IS NULL, coalesce(excluded.error_details, '')) < (errors IS NULL, coalesce(errors, ''), error_code IS NULL, coalesce(error_code, ''), error_title IS NULL, coalesce(error_title, ''), error_details IS NULL, coalesce(error_details, '')) THEN excluded.error_code ELSE error_code END,
    error_title = CASE WHEN (excluded.errors IS NULL, coalesce(excluded.errors, ''), excluded.error_code IS NULL, coalesce(excluded.error_code, ''), excluded.error_title IS NULL, coalesce(excluded.error_title, ''), excluded.error_details IS NULL, coalesce(excluded.error_details, '')) < (errors IS NULL, coalesce(errors, ''), error_code IS NULL, coalesce(error_code, ''), error_title IS NULL, coalesce(error_title, ''), error_details IS NULL, coalesce(error_details, '')) THEN excluded.error_title ELSE error_title END,
    error_details = CASE WHEN (excluded.errors IS NULL, coalesce(excluded.errors, ''), excluded.error_code IS NULL, coalesce(excluded.error_code, ''), excluded.error_title IS NULL, coalesce(excluded.error_title, ''), excluded.error_details IS NULL, coalesce(excluded.error_details, '')) < (errors IS NULL, coalesce(errors, ''), error_code IS NULL, coalesce(error_code, ''), error_title IS NULL, coalesce(error_title, ''), error_details IS NULL, coalesce(error_details, '')) THEN excluded.error_details ELSE error_details END,
    account_id = coalesce(min(account_id, excluded.account_id), account_id, excluded.account_id),
    is_test = min(is_test, excluded.is_test),
    kind = min(kind, excluded.kind),
    message_id = coalesce(min(coalesce(original_message_id, message_id), excluded.message_id), coalesce(original_message_id, message_id), excluded.message_id),
    provider_message_id = coalesce(min(provider_message_id, excluded.provider_message_id), provider_message_id, excluded.provider_message_id),
    about_message_id = coalesce(min(coalesce(original_about_id, about_message_id), excluded.about_message_id), coalesce(original_about_id, about_message_id), excluded.about_message_id),
    phone = coalesce(min(phone, excluded.phone), phone, excluded.phone),
    phone_raw = coalesce(min(phone_raw, excluded.phone_raw), phone_raw, excluded.phone_raw),
    user_id = coalesce(min(user_id, excluded.user_id), user_id, excluded.user_id),
    phone_number_id = coalesce(min(phone_number_id, excluded.phone_number_id), phone_number_id, excluded.phone_number_id),
    business_phone = coalesce(min(business_phone, excluded.business_phone), business_phone, excluded.business_phone),
    client_reference = coalesce(min(client_reference, excluded.client_reference), client_reference, excluded.client_reference),
    profile_name = coalesce(min(profile_name, excluded.profile_name), profile_name, excluded.profile_name),
    group_id = coalesce(min(group_id, excluded.group_id), group_id, excluded.group_id),
    emoji = coalesce(min(emoji, excluded.emoji), emoji, excluded.emoji),
    reply_type = coalesce(min(reply_type, excluded.reply_type), reply_type, excluded.reply_type),
    reply_text = CASE WHEN blanked_at IS NULL THEN coalesce(min(reply_text, excluded.reply_text), reply_text, excluded.reply_text) END,
    reply_payload = CASE WHEN blanked_at IS NULL THEN coalesce(min(reply_payload, excluded.reply_payload), reply_payload, excluded.reply_payload) END,
    media_id = coalesce(min(media_id, excluded.media_id), media_id, excluded.media_id),
    media_type = coalesce(min(media_type, excluded.media_type), media_type, excluded.media_type),
    pricing_category = coalesce(min(pricing_category, excluded.pricing_category), pricing_category, excluded.pricing_category),
    pricing_model = coalesce(min(pricing_model, excluded.pricing_model), pricing_model, excluded.pricing_model),
    pricing_type = coalesce(min(pricing_type, excluded.pricing_type), pricing_type, excluded.pricing_type),
    billable = coalesce(min(billable, excluded.billable), billable, excluded.billable),
    details = CASE WHEN blanked_at IS NULL THEN coalesce(min(details, excluded.details), details, excluded.details) END,
    told_commit_number = NULL,
    original_message_id = NULL,
    original_about_id = NULL,
    changed_at = excluded.changed_at,
    commit_number = excluded.commit_number
WHERE
    (excluded.received_at, excluded.inbox_id, excluded.notification_id, excluded.endpoint, excluded.provider) < (received_at, inbox_id, notification_id, endpoint, provider)
    -- Most redeliveries have the same values again: comparing all of them at once costs half as much.
    OR (
        (
            excluded.occurred_at, excluded.occurred_at_source, excluded.account_id, excluded.is_test,
            excluded.kind, excluded.message_id, excluded.provider_message_id, excluded.about_message_id,
            excluded.phone, excluded.phone_raw, excluded.user_id, excluded.phone_number_id,
            excluded.business_phone, excluded.client_reference, excluded.profile_name, excluded.group_id,
            excluded.emoji, excluded.reply_type, excluded.reply_text, excluded.reply_payload, excluded.media_id,
            excluded.media_type, excluded.error_code, excluded.error_title, excluded.error_details,
            excluded.errors, excluded.pricing_category, excluded.pricing_model, excluded.pricing_type,
            excluded.billable, excluded.details
        ) IS NOT (
            occurred_at, occurred_at_source, account_id, is_test, kind,
            coalesce(original_message_id, message_id), provider_message_id,
            coalesce(original_about_id, about_message_id), phone, phone_raw, user_id, phone_number_id,
            business_phone, client_reference, profile_name, group_id, emoji, reply_type, reply_text,
            reply_payload, media_id, media_type, error_code, error_title, error_details, errors,
            pricing_category, pricing_model, pricing_type, billable, details
        )
        AND (
            (excluded.occurred_at_source, excluded.occurred_at) < (occurred_at_source, occurred_at)
            OR (excluded.errors IS NULL, coalesce(excluded.errors, ''), excluded.error_code IS NULL, coalesce(excluded.error_code, ''), excluded.error_title IS NULL, coalesce(excluded.error_title, ''), excluded.error_details IS NULL, coalesce(excluded.error_details, '')) < (errors IS NULL, coalesce(errors, ''), error_code IS NULL, coalesce(error_code, ''), error_title IS NULL, coalesce(error_title, ''), error_details IS NULL, coalesce(error_details, ''))
            OR excluded.account_id < account_id OR (account_id IS NULL AND excluded.account_id IS NOT NULL)
            OR excluded.is_test < is_test
            OR excluded.kind < kind
            OR excluded.message_id < coalesce(original_message_id, message_id) OR (message_id IS NULL AND excluded.message_id IS NOT NULL)
            OR excluded.provider_message_id < provider_message_id OR (provider_message_id IS NULL AND excluded.provider_message_id IS NOT NULL)
            OR excluded.about_message_id < coalesce(original_about_id, about_message_id) OR (about_message_id IS NULL AND excluded.about_message_id IS NOT NULL)
            OR excluded.phone < phone OR (phone IS NULL AND excluded.phone IS NOT NULL)
            OR excluded.phone_raw < phone_raw OR (phone_raw IS NULL AND excluded.phone_raw IS NOT NULL)
            OR excluded.user_id < user_id OR (user_id IS NULL AND excluded.user_id IS NOT NULL)
            OR excluded.phone_number_id < phone_number_id OR (phone_number_id IS NULL AND excluded.phone_number_id IS NOT NULL)
            OR excluded.business_phone < business_phone OR (business_phone IS NULL AND excluded.business_phone IS NOT NULL)
            OR excluded.client_reference < client_reference OR (client_reference IS NULL AND excluded.client_reference IS NOT NULL)
            OR excluded.profile_name < profile_name OR (profile_name IS NULL AND excluded.profile_name IS NOT NULL)
            OR excluded.group_id < group_id OR (group_id IS NULL AND excluded.group_id IS NOT NULL)
            OR excluded.emoji < emoji OR (emoji IS NULL AND excluded.emoji IS NOT NULL)
            OR excluded.reply_type < reply_type OR (reply_type IS NULL AND excluded.reply_type IS NOT NULL)
            OR (blanked_at IS NULL AND (excluded.reply_text < reply_text OR (reply_text IS NULL AND excluded.reply_text IS NOT NULL)))
            OR (blanked_at IS NULL AND (excluded.reply_payload < reply_payload OR (reply_payload IS NULL AND excluded.reply_payload IS NOT NULL)))
            OR excluded.media_id < media_id OR (media_id IS NULL AND excluded.media_id IS NOT NULL)
            OR excluded.media_type < media_type OR (media_type IS NULL AND excluded.media_type IS NOT NULL)
            OR excluded.pricing_category < pricing_category OR (pricing_category IS NULL AND excluded.pricing_category IS NOT NULL)
            OR excluded.pricing_model < pricing_model OR (pricing_model IS NULL AND excluded.pricing_model IS NOT NULL)
            OR excluded.pricing_type < pricing_type OR (pricing_type IS NULL AND excluded.pricing_type IS NOT NULL)
            OR excluded.billable < billable OR (billable IS NULL AND excluded.billable IS NOT NULL)
            OR (blanked_at IS NULL AND (excluded.details < details OR (details IS NULL AND excluded.details IS NOT NULL)))
        )
    )
