"""Taking webhooks in: route, limits, authenticate, append, answer. Knows no provider's JSON."""
