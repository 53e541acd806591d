"""Durability by exhaustion: every call on the filesystem fails once, and kills once."""
