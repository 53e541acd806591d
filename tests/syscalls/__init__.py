"""The real service, killed and failed at every system call of every kind of request."""
