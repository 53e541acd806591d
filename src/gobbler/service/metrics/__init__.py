"""What the processes of a service count, and how ``GET /metrics`` shows it."""
