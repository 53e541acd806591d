"""Are these two directories, and the filesystems below them, fit for the service?

Each probe is a small function that answers with a :class:`~gobbler.doctor.findings.Finding`.
``gobbler doctor`` runs all of them (:mod:`gobbler.doctor.examination`), ``gobbler serve``
the quick ones at its start.
"""
