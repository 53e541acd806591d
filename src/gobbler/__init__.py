"""Gobbler: versions of data that never change once published, on a shared filesystem.

The package is cut into layers; each imports only from the ones before it:

``names``, ``errors``, ``records``, ``rules``   values and decisions, no disk
``disk``, ``registry``, ``transfer``            the filesystem
``actions``                                     what a request does
``service`` and ``client``                      the two ends of the protocol
``cli``                                         the command line
"""

__version__ = "0.1.0"
