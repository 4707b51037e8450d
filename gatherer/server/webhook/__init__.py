"""The receiving server: route, limits, authenticate, append, respond. Of JSON it reads only what relays sign or ask for."""
