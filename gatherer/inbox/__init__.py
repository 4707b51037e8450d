"""The durable log of notifications between `gatherer serve` and `gatherer gather`."""
