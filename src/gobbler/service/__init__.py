"""The service: HTTP endpoints, the scheduler of jobs, and the processes of both."""
