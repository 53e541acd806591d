"""A host full of processes that claim files, and are killed at random; run as a script.

Each appends what it does, and when, to a log of its own: ``{file} {what} {nanoseconds}``, by
a clock that all processes of one kernel share.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from gobbler.filestore import Claim, FileStore, claimant
from gobbler.fs import lease


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--claimants", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True, help="mean seconds between kills")
    parser.add_argument("--silence", type=float, default=lease.EXPIRY_SECONDS)
    parser.add_argument("--hostname")
    parser.add_argument("--without-locks", action="store_true")
    options = parser.parse_args()
    if options.hostname:
        socket.sethostname(options.hostname)
    if options.without_locks:
        lease.try_lock = lambda *_: True  # type: ignore[attr-defined]
        claimant.RENEW_SECONDS = 0.1  # type: ignore[attr-defined]
    children = {start(options) for _ in range(options.claimants)}
    (options.place / f"up-{time.time_ns()}").touch()
    while not (options.place / "stop").exists():
        time.sleep(random.expovariate(1 / options.pause))
        victim = random.choice(sorted(children))
        os.kill(victim, signal.SIGKILL)
        children.remove(victim)
        code = os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])
        if code not in (-signal.SIGKILL, 0):
            sys.exit(f"a claimant ended with {code}")
        children.add(start(options))
    codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    sys.exit(codes != {0})


def start(options: argparse.Namespace) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            claim_all(options.place, options.silence)
            code = 0
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def claim_all(place: Path, silence: float) -> None:
    random.seed(os.urandom(8))
    store = FileStore(place / "store")
    name = f"{time.time_ns()}-{random.getrandbits(32):x}"
    log = os.open(place / "logs" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    while not (place / "stop").exists():
        claim = store.claim()
        if claim is None or random.random() < 0.01:
            store.requeue(silence=silence)
        if claim is None:
            time.sleep(random.uniform(0, 0.04))
        else:
            handle(claim, log)


def handle(claim: Claim, log: int) -> None:
    def tell(what: str) -> None:
        os.write(log, f"{claim.name} {what} {time.monotonic_ns()}\n".encode())

    tell("begun")
    if os.read(claim.descriptor, 100).decode().strip() != claim.name:
        tell("damaged")
    time.sleep(random.uniform(0, 0.003))
    if random.random() < 0.02:
        tell("released")
        claim.release()
        return
    tell("handled")
    claim.done()
    tell("done")


if __name__ == "__main__":
    main()
