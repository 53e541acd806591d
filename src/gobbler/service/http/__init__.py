"""The HTTP server of a worker: connections, the requests that come over them, and their answers.

llhttp, through httptools, parses; this package keeps what a client can choose within bounds.
"""
