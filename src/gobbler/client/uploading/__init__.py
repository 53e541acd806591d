"""A directory of this machine becomes a version: planned, copied into staging, asked for."""
