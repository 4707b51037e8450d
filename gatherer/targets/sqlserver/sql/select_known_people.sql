-- Everybody there is a row about: pairs of phone number, or what was received in its place, and user id.
SELECT COALESCE(phone, phone_raw) AS phone, user_id FROM $(schema).response
WHERE phone IS NOT NULL OR phone_raw IS NOT NULL OR user_id IS NOT NULL
UNION
SELECT phone, user_id FROM $(schema).other_event
WHERE phone IS NOT NULL OR user_id IS NOT NULL
UNION
SELECT phone, NULL FROM $(schema).message_map
WHERE phone IS NOT NULL;
