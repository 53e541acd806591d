"""Decisions as functions on values: no disk, no clock, no network."""
