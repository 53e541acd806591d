"""The filesystem: open, write, flush, lock, lease, hash, remove."""
