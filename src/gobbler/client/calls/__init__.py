"""The calls of :class:`~gobbler.client.client.Client`, a class for each subject.

All stand on :class:`~gobbler.client.calls.site.Site`, which knows the service and its
directories. Those that need more than a request have a package of their own:
:mod:`~gobbler.client.uploading`, :mod:`~gobbler.client.bulk`.
"""
