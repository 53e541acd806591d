"""From a user's directory to a finished tree: scan, ingest, build.

Heavy work is cut into batches, each a picklable call that opens its directories itself
and returns values, so that any ``concurrent.futures.Executor`` can run it.
"""
