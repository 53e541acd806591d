"""What was fetched, kept on this machine: complete under its final name, or not there.

``cache`` shows what it looks like on disk.
"""
