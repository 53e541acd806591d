"""Executors whose batches run in other processes, perhaps on other hosts."""
