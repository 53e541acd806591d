"""The installation that settings describe, and what its batches are run by."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

from gobbler.actions.context import ServiceContext
from gobbler.cluster.dask import DaskExecutor
from gobbler.cluster.remote_executor import AnyExecutor, conditions_of
from gobbler.registry.registry import Registry
from gobbler.service.index_updates import index_of
from gobbler.service.settings import Settings
from gobbler.transfer.executor import RemoteExecutor


def make_executor(settings: Settings, threads: int, executor: Executor | None = None) -> Executor:
    """The executor that ``settings`` ask for, with so many ``threads`` of this process.

    ``executor`` takes its place, if it is given. Any but a thread pool is taken to have other
    processes, which may die, and to run a batch anew when one does.
    """
    if executor is not None:
        if isinstance(executor, ThreadPoolExecutor | RemoteExecutor):
            return executor
        return AnyExecutor(executor, conditions_of(settings.staging, settings.registry))
    here = ThreadPoolExecutor(threads, thread_name_prefix="batch")
    if not settings.dask:
        return here
    return AnyExecutor(
        DaskExecutor(settings.dask, here), conditions_of(settings.staging, settings.registry)
    )


def make_service_context(settings: Settings, executor: Executor) -> ServiceContext:
    """The installation that ``settings`` describe, with its batches run by ``executor``."""
    return ServiceContext(
        staging=settings.staging,
        registry=Registry(settings.registry),
        admins=settings.admins,
        whitelist=settings.whitelist,
        spoofing=dict(settings.spoofing),
        durability=settings.durability,
        executor=executor,
        width=settings.concurrency,
        index=index_of(settings),
        dedup=settings.dedup,
    )
