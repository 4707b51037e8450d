"""A made-up campaign, as Meta would report it: its request bodies, and a client that posts them."""
