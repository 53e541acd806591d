"""Bulk runs: validate, refresh or reindex every version of a registry, and resume after a break.

``targets`` lists what a run covers, ``run`` carries out its tasks, several at a time, and
``ledger`` records each result at once, in the user's state directory. ``validate`` and
``repair`` are the two kinds of run.
"""
