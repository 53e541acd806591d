"""Makes the pages of docs/reference from the code: ``python -m docs.generate``.

With ``--check`` nothing is written; what is not fresh is named, and the exit code is 1.
"""
