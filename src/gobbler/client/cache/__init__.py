"""The cache of the client: files and directories that were fetched over HTTP.

::

    {cache}/{URL of the service, quoted}/
        files/{path in the registry}            files that were fetched one by one
        trees/{digest of the path}/
            {path in the registry}/             a directory, complete
            ..manifest                          of its version
        objects/                                see gobbler.client.cache.objects
        temp/  partial/                         see gobbler.client.cache.partial
        no-archives                             see gobbler.client.archive

Everything is written below ``temp``, flushed and renamed. So a file with its final name is
complete, and any number of processes may share a cache without waiting for each other. Each
directory has a tree of its own, so that one fetched as a whole can't be confused with one of
which only a part was fetched. Files with the same content are one file with several names.

The modification time of a tree, and the access time of a file, say when it was used last.
"""
