"""The receiving server: route, limits, authenticate, append, respond. It does not read the JSON of any provider."""
