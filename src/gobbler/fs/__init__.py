"""The filesystem: opening what users own, writing what the service owns, flushing, locks."""
