"""Verifying or repairing all that is in a registry, to be gone on with after a break.

``sweep`` goes over the versions, ``ledger`` remembers what is done.
"""
