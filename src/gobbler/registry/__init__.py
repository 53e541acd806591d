"""One registry on this filesystem: reading it, and changing it as a whole or not at all."""
