"""Tests with a running service: its processes, and the clients that stand on them."""
