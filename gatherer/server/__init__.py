"""What `gatherer serve` runs: the HTTP server, the webhook handler, the pull API, health and metrics."""
