-- One row if there is any response from the endpoint; the other parameters are not looked at.
SELECT endpoint
FROM response
WHERE endpoint = :endpoint
LIMIT 1
