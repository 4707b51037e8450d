"""A campaign that never happened, as Meta would report it: what to post, in which bytes, and posting it."""
