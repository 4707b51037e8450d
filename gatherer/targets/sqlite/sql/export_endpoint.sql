-- One row if there is any response from the endpoint, whatever else is asked for.
SELECT endpoint
FROM response
WHERE endpoint = :endpoint
LIMIT 1
