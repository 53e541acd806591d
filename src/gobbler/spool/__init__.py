"""Requests that wait as files: the inbox, the jobs, and the replay guard."""
