"""Reading a registry, which may be mounted here or behind its service.

``source`` lists directories and reads records, either way. The others bring files over HTTP:
whole, by parts, or many in one archive, and compare them with the manifest.
"""
