"""One registry on this filesystem: reading it, and changing it whole or not at all."""
