"""Black-box tests of the registry protocol: HTTP and files, nothing else.

Without options the suite starts the service of this project on temporary directories.
With ``--service-url`` (and ``--staging``, ``--registry``) it tests any other service of the
protocol, of which the present user must be an administrator. Then ``-m "not beyond"`` leaves
out what only this project promises.
"""
