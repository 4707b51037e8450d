"""A simulated campaign: the request bodies with which Meta would report it, and a client that sends them."""
