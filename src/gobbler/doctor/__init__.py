"""Are these two directories, and the filesystems below them, fit for the service?

A probe is a function that returns a :class:`~gobbler.doctor.findings.Finding`: what it found,
and how to repair it. ``gobbler doctor`` runs all probes, ``gobbler serve`` the essential ones
at each start.

To add a probe, write it in the module of its subject (``modes``, ``mounts``, ``locks``,
``renames``, ``storage``, ``metadata``, ``host``) and add a row to one of the tables in
:mod:`gobbler.doctor.examination`.
"""
