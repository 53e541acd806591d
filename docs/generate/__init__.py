"""Generates the pages of docs/reference from the code: ``python -m docs.generate``.

``--check`` writes nothing. It lists outdated pages, and exits with 1 if there are any.
"""
