"""The client of another machine's inbox, which `gatherer serve` offers there."""
