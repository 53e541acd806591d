"""Which service is meant, and asking it: configuration, HTTP, request files, jobs.

What goes out is in ``http`` and ``submit``, what comes back in ``answers`` and ``jobs``.
"""
