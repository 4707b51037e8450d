-- Keep the body of a notification with rejections, once. Of several content types the first in binary order counts, and
-- any before none, so that the order of arrival plays no part.
INSERT INTO rejected_notification (body_key, content_type, body) VALUES (?, ?, ?)
ON CONFLICT (body_key) DO UPDATE SET content_type = excluded.content_type
WHERE excluded.content_type < content_type OR (content_type IS NULL AND excluded.content_type IS NOT NULL)
