"""The kinds of executors, by what may happen to a batch."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

from gobbler.transfer.local_pool import LocalPool


class RemoteExecutor(Executor):
    """An executor that runs batches in other processes, perhaps on other hosts.

    When a process dies, or seems dead, the executor may run its batch again. So a batch may run
    twice, even at the same time, and may go on after the result of another run was accepted, or
    after the dispatching process has died. See :mod:`gobbler.transfer.batch`.
    """


class LocalExecutor(ThreadPoolExecutor):
    """Threads of this process, and up to ``processes`` processes for many small files.

    Each batch runs once. What runs in a process that dies runs again in a thread.
    """

    def __init__(self, threads: int, processes: int) -> None:
        super().__init__(threads, thread_name_prefix="batch")
        self.pool = LocalPool(processes) if processes else None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the threads and the pool down."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if self.pool is not None:
            self.pool.close()


def pool_of(executor: Executor) -> LocalPool | None:
    """The local pool of ``executor``, if it has one."""
    return executor.pool if isinstance(executor, LocalExecutor) else None
