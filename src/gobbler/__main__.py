"""``python -m gobbler`` is the same as ``gobbler``."""

from gobbler.cli import main

main()
