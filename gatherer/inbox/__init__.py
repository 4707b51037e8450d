"""Where from: the durable log of notifications between the web server and the gatherer."""
