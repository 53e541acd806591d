"""The service: requests over HTTP, reading over HTTP, and the processes that do it."""
