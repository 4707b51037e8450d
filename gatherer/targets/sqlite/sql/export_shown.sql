-- One row if there are test rows, and the views show them; the parameters are not looked at.
SELECT is_test
FROM shown_response
WHERE is_test = 1
LIMIT 1
